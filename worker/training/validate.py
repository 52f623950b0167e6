"""Validates that settings, dataset, device and constraints fit together, before the first training step."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from worker.training.components.augment import AUGMENTATIONS
from worker.training.components.losses import LOSSES
from worker.training.components.metrics import METRICS, metric_notes, reported_names
from worker.training.config import Section, TrainingConfig
from worker.training.data import Dataset
from worker.training.distributed.group import SINGLE_PROCESS, Group
from worker.training.errors import ConfigError, Infeasible, did_you_mean
from worker.training.events import Monitor
from worker.training.models import MODELS
from worker.training.parameters import Parameter, check_all
from worker.training.registry import Entry, Registry

_BOUNDS = {"max": Parameter("max", "float", low=0.0, description="the largest number allowed")}


def find_device(name: str) -> torch.device:
    """Return the torch device called `name` (cpu, cuda, cuda:1).

    Raises:
        ConfigError: the name is unknown, or this machine has no such device.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError("device", f"unknown device {name!r}; use cpu or cuda:0") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            "device", f"{name!r} does not exist: this machine has {torch.cuda.device_count()} CUDA devices; use cpu"
        )
    return device


def check_fit(config: TrainingConfig, dataset: Dataset, monitor: Monitor | None, group: Group = SINGLE_PROCESS) -> None:
    """Check that loss, model, augmentation, batch size, metrics and monitor fit the dataset and the process group.

    Args:
        config: the configuration.
        dataset: the dataset of one fold.
        monitor: the metric to watch, which must be one that is reported after each epoch; None: none.
        group: the processes that train together; each needs at least one example of a batch.

    Raises:
        ConfigError: at the first setting that does not fit.
    """
    require_fit("loss.name", LOSSES, config.loss.name, "kinds", dataset.kind)
    require_fit("model.name", MODELS, config.model.name, "inputs", dataset.inputs)
    require_fit("augment.name", AUGMENTATIONS, config.augment.name, "inputs", dataset.inputs)
    if dataset.categories and config.augment.name == "mixup":
        raise ConfigError(
            "augment.name", "mixup can't mix category indices; use data.categories: onehot, or augment.name: none"
        )
    if config.batch_size > len(dataset.train):
        raise ConfigError("batch_size", f"{config.batch_size} is more than the {len(dataset.train)} training examples")
    if config.batch_size < group.size:
        raise ConfigError(
            "batch_size", f"{config.batch_size} examples are too few for {group.size} devices; each needs at least one"
        )
    check_metrics(config.metrics, dataset, monitor)


def check_metrics(metrics: Sequence[Section], dataset: Dataset, monitor: Monitor | None) -> None:
    """Check that metrics fit the dataset, and that the monitored one is reported.

    Args:
        metrics: the metrics that a configuration names.
        dataset: the dataset.
        monitor: the metric to watch; None: none.

    Raises:
        ConfigError: at the first that does not fit.
    """
    settings = {section.name: section.settings for section in metrics}
    for index, section in enumerate(metrics):
        require_fit(f"metrics[{index}].name", METRICS, section.name, "kinds", dataset.kind)
    reported = reported_names(dataset, settings)
    if monitor is not None and monitor.metric not in reported:
        undefined = [note for note in metric_notes(dataset, settings) if note.startswith(f"{monitor.metric} ")]
        hint = undefined[0] if undefined else did_you_mean(monitor.metric, reported)
        raise ConfigError("monitor.metric", f"{monitor.metric!r} isn't reported after each epoch; {hint}")


def require_fit(path: str, registry: Registry[Any], name: str, fact: str, actual: str) -> None:
    """Raise ConfigError if an entry declares `kinds` of task or `inputs` (`fact`) and `actual` is not among them."""

    def fits(entry: Entry[Any]) -> bool:
        return actual in entry.facts.get(fact, [actual])

    entry = registry.entry(name)
    if not fits(entry):
        fitting = " or ".join(each.name for each in registry if fits(each))
        raise ConfigError(
            path, f"{name} is for {' or '.join(entry.facts[fact])}, but the data is for {actual}; use {fitting}"
        )


def check_constraints(constraints: Mapping[str, Any], num_parameters: int) -> None:
    """Check the number of trainable parameters against the constraint `{"parameters": {"max": n}}`.

    Raises:
        Infeasible: the model has more parameters than the constraint allows.
        ConfigError: the constraint is unknown or malformed.
    """
    for name in constraints:
        if name != "parameters":
            raise ConfigError(f"constraints.{name}", "there is no such constraint; use parameters")
    if "parameters" not in constraints:
        return
    bounds = constraints["parameters"]
    if not isinstance(bounds, Mapping):
        raise ConfigError("constraints.parameters", f"must be a mapping like {{max: 5e6}}, got {bounds!r}")
    maximum = check_all("constraints.parameters", "the constraint", _BOUNDS, bounds)["max"]
    if num_parameters > maximum:
        raise Infeasible(f"the model has {num_parameters:,} parameters; the constraint allows {maximum:,.0f}")
