"""Remedies of the learning rate and of the optimizer's steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.analysis.remedies.domains import log_range, one_of, rounded
from service.analysis.remedies.proposal import follow_up, try_values
from service.analysis.remedies.rule_settings import positive, text_of
from service.analysis.remedies.subject import RATE_NAMES, Subject
from service.contract.remedy_action import RemedyAction

_LOWER, _RAISE = 0.3, 3.0
_CLIP_NORM = 1.0
_OPTIMIZER = "adamw"


def lower_rate(subject: Subject, settings: Mapping[str, Any]) -> RemedyAction | None:
    """Try 0.3 times the rate."""
    return _scale(subject, settings, _LOWER)


def raise_rate(subject: Subject, settings: Mapping[str, Any]) -> RemedyAction | None:
    """Try 3 times the rate."""
    return _scale(subject, settings, _RAISE)


def clip_gradients(subject: Subject, settings: Mapping[str, Any]) -> RemedyAction | None:
    """Clip the norm of the gradient at 1, or at 0.3 times the present limit."""
    present = subject.number("clip_norm")
    norm = positive(settings, "clip_norm") or (_CLIP_NORM if present is None else present * _LOWER)
    return try_values(subject, {"clip_norm": rounded(norm)}, {"clip_norm": log_range(norm / 10, norm * 100)})


def larger_batch(subject: Subject, settings: Mapping[str, Any]) -> RemedyAction | None:
    """Try twice the batch size."""
    present = subject.number("batch_size")
    if present is None:
        return None
    size = round(positive(settings, "value") or present * (positive(settings, "factor") or 2))
    return try_values(subject, {"batch_size": size}, {"batch_size": one_of(int(present), size)})


def change_optimizer(subject: Subject, settings: Mapping[str, Any]) -> RemedyAction | None:
    """Try AdamW with its usual rate; where the task fixes another optimizer, in a follow-up study."""
    name = text_of(settings, "optimizer") or _OPTIMIZER
    entry = subject.catalogue.registries.get("optimizer", {}).get(name)
    if not subject.is_train or entry is None or subject.entry_name("optimizer") == name:
        return None
    if "optimizer.name" in subject.spec.space:
        return try_values(subject, {"optimizer.name": name}, {})
    # The rates and decays of one optimizer suit no other, so those of the space that the new one lacks are left out.
    unknown = [key for key in subject.spec.space if key.startswith("optimizer.")]
    without = {f"space.{key}": None for key in unknown if key.partition(".")[2] not in entry.parameters}
    rate = entry.parameters["lr"].default if "lr" in entry.parameters else None
    around = {"space.optimizer.lr": log_range(rate / 10, rate * 10)} if rate and "optimizer.lr" in unknown else {}
    return follow_up(subject, {"task.train.optimizer": {"name": name}, **without, **around})


def _scale(subject: Subject, settings: Mapping[str, Any], factor: float) -> RemedyAction | None:
    path = text_of(settings, "parameter") or subject.find(RATE_NAMES)
    present = None if path is None else subject.number(path)
    if path is None or present is None or present <= 0:
        return None
    rate = rounded(positive(settings, "value") or present * (positive(settings, "factor") or factor))
    if rate <= 0 or rate == present:
        return None
    return try_values(subject, {path: rate}, {path: log_range(min(rate, present) / 3, max(rate, present))})
