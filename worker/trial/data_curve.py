"""Trains a study's configuration on parts of its training examples, to show what more data would give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.contract.study import StudySpec
from worker.training import ConfigError, Monitor, TrainingConfig, TrainingHooks, train
from worker.training.allowed_folders import AllowedFolders
from worker.training.batch_size import limited_by_data, with_default
from worker.training.data import DATA, Dataset
from worker.trial.preflight.study_space import search_space_of

_SETTING = "train_fraction"


@dataclass(frozen=True)
class Trained:
    """One training on a part of the training examples.

    Attributes:
        fraction: the share of the training examples.
        seed: the seed of the part and of the training.
        num_examples: the number of training examples.
        value: the objective on the validation examples, in the best epoch.
        train_value: the same on training examples, in the same epoch; None: the objective has no such counterpart.
        num_done: how many trainings are done.
        num_total: how many there are.
    """

    fraction: float
    seed: int
    num_examples: int
    value: float
    train_value: float | None
    num_done: int
    num_total: int


def train_on_parts(
    spec: StudySpec,
    *,
    fractions: Sequence[float],
    seeds: int,
    device: str = "cpu",
    readable: Sequence[Path] | None = None,
    on_trained: Callable[[Trained], None],
) -> None:
    """Train the centre of a study's space on nested parts of its training examples, with several seeds.

    Validation examples stay the same. A part of a tenth trains ten times as many epochs, so that every training makes
    as many steps, and each is measured in its best epoch.

    Args:
        spec: the study.
        fractions: the shares of the training examples.
        seeds: the number of trainings on each part.
        device: cpu or cuda.
        readable: the folders below which the paths of the study must lie; None: no limit.
        on_trained: called with each training as soon as it is done.

    Raises:
        ConfigError: the study has no train task, or its data can't be cut.
        TrainingError: a training failed.
    """
    if spec.task is None or spec.task.train is None:
        raise ConfigError("task", f"a task of the kind {spec.task_kind} trains nothing here; use a train task")
    space = search_space_of(spec.space, with_default(spec.task.train))
    mapping = space.configuration().to_mapping()
    name = str(mapping["data"]["name"])
    if _SETTING not in DATA.entry(name).parameters:
        raise ConfigError("data.name", f"the data {name!r} have no setting {_SETTING}, so they can't be cut")
    objective = spec.primary_objective
    if not objective.metric.startswith("val/"):
        raise ConfigError("objective", f"{objective.metric} is not measured on validation examples; use a val/ metric")
    monitor = Monitor(objective.metric, objective.direction, keep="best")
    num_done = 0
    for seed in range(seeds):
        for fraction in fractions:
            part = {**mapping, "data": {**mapping["data"], _SETTING: fraction, f"{_SETTING}_seed": seed}}
            part["epochs"] = max(1, round(mapping["epochs"] / fraction))
            sizes: list[int] = []

            def note_size(dataset: Dataset, sizes: list[int] = sizes) -> None:
                sizes.append(len(dataset.train))

            result = train(
                limited_by_data(TrainingConfig.from_mapping(part), AllowedFolders.of(readable)),
                seed=seed,
                device=device,
                monitor=monitor,
                hooks=TrainingHooks(on_data=note_size),
                readable=readable,
            )
            num_done += 1
            on_trained(
                Trained(
                    fraction=fraction,
                    seed=seed,
                    num_examples=sizes[0],
                    value=float(result.metrics[objective.metric]),
                    train_value=result.metrics.get(objective.metric.replace("val/", "train/", 1)),
                    num_done=num_done,
                    num_total=seeds * len(fractions),
                )
            )
