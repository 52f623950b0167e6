"""The same training without what keeps it from fitting its examples: dropout, decay, smoothing, augmentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from worker.training.config import Section, TrainingConfig

_ZEROED = ("dropout", "drop_rate", "drop_path", "label_smoothing", "weight_decay")


def without_regularisation(config: TrainingConfig) -> TrainingConfig:
    """Return the configuration without regularisation and augmentation, at a constant learning rate."""
    loss = config.loss
    if loss.name == "distill":  # the targets alone
        loss = Section(loss.name, {**loss.settings, "weight": 0.0})
    return replace(
        config,
        augment=Section("none", {}),
        schedule=Section("constant", {"warmup": 0.0}),
        model=_zeroed(config.model),
        finetune=_unfrozen(_zeroed(config.finetune)),
        loss=_zeroed(loss),
        optimizer=_zeroed(config.optimizer),
        l1=0.0,
        ema_decay=None,
    )


def switch_off_dropout(model: nn.Module) -> None:
    """Set the probability of the model's dropout layers to 0, also of those that no setting reaches."""
    for layer in model.modules():
        if isinstance(layer, _DropoutNd):
            layer.p = 0.0


def _zeroed(section: Section) -> Section:
    return Section(section.name, {name: _zero_if_regulariser(name, each) for name, each in section.settings.items()})


def _zero_if_regulariser(name: str, value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return 0.0 if is_number and any(each in name for each in _ZEROED) else value


def _unfrozen(section: Section) -> Section:
    """Let all layers that ever learn do so from the first step on."""
    settings: Mapping[str, Any] = section.settings
    return Section(section.name, {**settings, "unfreeze_by": 0.0}) if "unfreeze_by" in settings else section
