"""Remedies of the length of a training: longer, shorter, and early stopping."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from service.analysis.remedies.domains import Domain
from service.analysis.remedies.proposal import follow_up, try_values
from service.analysis.remedies.rule_settings import positive
from service.analysis.remedies.subject import EPOCH_NAMES, Subject
from service.contract.remedy_action import ForkAction, RemedyAction

_LONGER, _SHORTER = 2.0, 0.5
_PATIENCE_SHARE, _LEAST_PATIENCE = 10, 3


def train_longer(subject: Subject, settings: Mapping[str, Any]) -> RemedyAction | None:
    """Train twice as long: by a fork that continues the trial, else by a follow-up study.

    Values after trainings of different lengths are not comparable, so the study itself keeps its length.
    """
    path, epochs = _epochs(subject, settings, _LONGER)
    if path is None or epochs is None:
        return None
    if path in subject.spec.space:
        return try_values(subject, {path: epochs}, {})
    if not subject.is_train:
        return None
    trial = subject.trial
    if trial is not None and not subject.is_about_study and subject.study.has_checkpoint(trial.number):
        return ForkAction(trial=trial.number, settings={"epochs": epochs})
    return follow_up(subject, {"task.train.epochs": epochs})


def train_shorter(subject: Subject, settings: Mapping[str, Any]) -> RemedyAction | None:
    """Train half as long, in a follow-up study where the task fixes the length."""
    path, epochs = _epochs(subject, settings, _SHORTER)
    if path is None or epochs is None:
        return None
    if path in subject.spec.space:
        return try_values(subject, {path: epochs}, {})
    return follow_up(subject, {"task.train.epochs": epochs}) if subject.is_train else None


def stop_early(subject: Subject, settings: Mapping[str, Any]) -> RemedyAction | None:
    """Stop a training after a tenth of its epochs without a better objective, or half of the present patience."""
    epochs, present = subject.number("epochs"), subject.number("patience")
    if epochs is None:
        return None
    usual = epochs / _PATIENCE_SHARE if present is None else present / 2
    patience = math.ceil(positive(settings, "patience") or max(_LEAST_PATIENCE, usual))
    if present is not None and patience >= present:
        return None
    domain: Domain = {"type": "int", "low": max(1, patience // 2), "high": 2 * patience}
    return try_values(subject, {"patience": patience}, {"patience": domain})


def _epochs(subject: Subject, settings: Mapping[str, Any], factor: float) -> tuple[str | None, int | None]:
    """Return the path of the number of epochs and its new value; None: there is none, or no other."""
    path = subject.find(EPOCH_NAMES)
    present = None if path is None else subject.number(path)
    if present is None:
        return None, None
    epochs = math.ceil(positive(settings, "epochs") or present * (positive(settings, "factor") or factor))
    is_further = epochs > present if factor > 1 else 1 <= epochs < present
    return path, epochs if is_further else None
