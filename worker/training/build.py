"""Builds the components of a training from its configuration: dataset, model, loss, optimizer, schedule, callbacks."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from worker.training.allowed_folders import ANYWHERE, AllowedFolders
from worker.training.callbacks import CALLBACKS, Callback
from worker.training.callbacks.callback_list import CallbackList
from worker.training.components.augment import AUGMENTATIONS, Augment
from worker.training.components.distillation import Distillation
from worker.training.components.link import Link, link_of
from worker.training.components.losses import LOSSES
from worker.training.components.metrics import Metrics
from worker.training.components.optimizers import OPTIMIZERS, weight_groups
from worker.training.components.precision import autocast, grad_scaler
from worker.training.components.schedules import SCHEDULES, Plateau, Schedule
from worker.training.components.weight_average import WeightAverage
from worker.training.config import TrainingConfig
from worker.training.data import DATA, Dataset
from worker.training.data.splits import Fold
from worker.training.distributed.group import SINGLE_PROCESS, Group
from worker.training.distributed.sync_batch_norm import has_synced_batch_norms, sync_batch_norms
from worker.training.errors import ConfigError
from worker.training.models import MODELS
from worker.training.models.blocks import Blocks
from worker.training.models.finetune import FINETUNING
from worker.training.models.trainable import TrainableModel
from worker.training.state import TrainState
from worker.training.validate import check_constraints


@dataclass(frozen=True)
class Components:
    """The components that a training uses and does not change.

    Attributes:
        config: the configuration.
        seed: the seed of this model's training.
        dataset: the dataset, on its device.
        augment: changes a training batch.
        trainable: the model with its trainable weights.
        forward: the model, compiled if the configuration says so.
        loss: maps outputs and targets to the batch's mean loss.
        link: maps outputs to probabilities or values.
        metrics: the metrics to report.
        schedule: the learning-rate schedule.
        autocast: the precision context in which the model computes.
        group: the processes that train together.
    """

    config: TrainingConfig
    seed: int
    dataset: Dataset
    augment: Augment
    trainable: TrainableModel
    forward: Callable[[Tensor], Tensor]
    loss: nn.Module
    link: Link
    metrics: Metrics
    schedule: Schedule
    autocast: AbstractContextManager[object]
    group: Group = SINGLE_PROCESS
    needs_all_ranks: bool = False
    """Whether all ranks of the group must call the model in training, even a rank without examples."""


def load(config: TrainingConfig, device: torch.device, folders: AllowedFolders = ANYWHERE) -> list[Dataset]:
    """Load the dataset once, or once per fold, for training on `device`.

    Raises:
        ConfigError: the data can't be used, or can't be divided into folds.
        OutsideFolders: a file lies outside the `folders`.
    """
    name, settings = config.data.name, config.data.settings
    if config.folds is None:
        return [DATA.create(name, settings, folders=folders).to(device)]
    if not DATA.entry(name).facts.get("folds"):
        raise ConfigError("folds", f"data {name!r} can't be divided into folds; leave folds out")
    folds = [Fold(index, config.folds) for index in range(config.folds)]
    return [DATA.create(name, settings, fold, folders=folders).to(device) for fold in folds]


def callbacks_of(
    config: TrainingConfig,
    callbacks: Sequence[Callback],
    group: Group = SINGLE_PROCESS,
    folders: AllowedFolders = ANYWHERE,
) -> CallbackList:
    """Build the configured callbacks, followed by `callbacks`; in a group only the first rank has any."""
    if not group.is_first:
        return CallbackList([], group)
    configured = [
        (section.name, CALLBACKS.create(section.name, section.settings, folders=folders, path=f"callbacks[{index}]"))
        for index, section in enumerate(config.callbacks)
    ]
    return CallbackList([*configured, *((type(callback).__name__, callback) for callback in callbacks)], group)


def build(
    config: TrainingConfig,
    seed: int,
    dataset: Dataset,
    constraints: Mapping[str, Any],
    group: Group = SINGLE_PROCESS,
    *,
    teacher: Path | None = None,
    folders: AllowedFolders = ANYWHERE,
) -> tuple[Components, TrainState]:
    """Build the components and the initial state of one model's training, on the dataset's device.

    The initial weights are drawn from torch's default random stream.

    Args:
        config: the configuration.
        seed: the seed of this model's training.
        dataset: the dataset, on its device.
        constraints: `{"parameters": {"max": n}}` or empty.
        group: the processes that train together.
        teacher: the file of the checkpoint that `loss.teacher` names, if that is not a path.
        folders: the folders that the configuration's paths must lie in; the teacher's file is allowed too.

    Raises:
        ConfigError: settings do not fit together.
        Infeasible: the model breaks a constraint.
        OutsideFolders: a path lies outside the `folders`.
    """
    device = dataset.device
    model = MODELS.create(config.model.name, config.model.settings, dataset, folders=folders)
    trainable = FINETUNING.create(config.finetune.name, config.finetune.settings, model, folders=folders)
    if group.size > 1:
        sync_batch_norms(model)
    model.to(device)
    check_constraints(constraints, trainable.num_parameters)
    if config.activation_checkpointing:
        _checkpoint_activations(model, config.model.name)
    schedule = SCHEDULES.create(config.schedule.name, config.schedule.settings)
    state = TrainState(
        device=device,
        model=model,
        optimizer=OPTIMIZERS.create(config.optimizer.name, config.optimizer.settings, weight_groups(trainable.groups)),
        scaler=grad_scaler(config.precision, device),
        plateau=schedule if isinstance(schedule, Plateau) else None,
        average=None if config.ema_decay is None else WeightAverage(model, config.ema_decay),
    )
    settings = config.loss.settings if teacher is None else {**config.loss.settings, "teacher": str(teacher)}
    loss = LOSSES.create(config.loss.name, settings, dataset, folders=folders.plus(teacher)).to(device)
    if isinstance(loss, Distillation):
        loss.require_data_of(config.to_mapping())
    link = link_of(config.loss.name, dataset.kind)
    components = Components(
        config=config,
        seed=seed,
        dataset=dataset,
        augment=AUGMENTATIONS.create(config.augment.name, config.augment.settings, dataset),
        trainable=trainable,
        forward=torch.compile(model) if config.compile else model,
        loss=loss,
        link=link,
        metrics=Metrics(dataset, device, config.metric_settings, link),
        schedule=schedule,
        autocast=autocast(config.precision, device),
        group=group,
        needs_all_ranks=has_synced_batch_norms(model),
    )
    return components, state


def _checkpoint_activations(model: nn.Module, name: str) -> None:
    stacks = [blocks for blocks in model.modules() if isinstance(blocks, Blocks)]
    if not stacks:
        raise ConfigError(
            "activation_checkpointing", f"model {name!r} has no stack of blocks to apply it to; leave it out"
        )
    for blocks in stacks:
        blocks.activation_checkpointing = True
