"""Remedies of the learning-rate schedule: decay, later decay, warm-up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from service.analysis.remedies.domains import one_of, rounded
from service.analysis.remedies.proposal import try_values
from service.analysis.remedies.rule_settings import positive, text_of
from service.analysis.remedies.subject import Subject
from service.contract.base import Value
from service.contract.remedy_action import RemedyAction

_DECAYING = ("cosine", "linear", "warmup_stable_decay", "one_cycle")
"""Schedules that decay smoothly until the end of the training, the most usual first."""

_WARM_UP, _MOST_WARM_UP = 0.1, 0.5


def _halfway(value: float) -> float:
    """Return the middle between a share of the training and its end."""
    return rounded((1 + value) / 2)


_LATER: Mapping[str, tuple[str, Callable[[Any], Value]]] = {
    "step": ("every", lambda every: rounded(min(1.0, 2 * every))),
    "multi_step": ("drops", lambda drops: [_halfway(drop) for drop in drops]),
    "multiplicative": ("drops", lambda drops: [_halfway(drop) for drop in drops]),
    "exponential": ("final_fraction", lambda fraction: rounded(min(1.0, 10 * fraction or 0.1))),
    "polynomial": ("power", lambda power: rounded(max(0.5, power / 2))),
    "warmup_stable_decay": ("decay", lambda decay: rounded(decay / 2)),
    "plateau": ("patience", lambda patience: 2 * patience or 2),
}
"""Schedule -> the option that says when it decays, and its value for a later decay."""


def decay_rate(subject: Subject, settings: Mapping[str, Any]) -> RemedyAction | None:
    """Try a schedule that decays the rate until the end: cosine, unless the trial has such a schedule."""
    name = subject.entry_name("schedule")
    return None if name in _DECAYING else _change_schedule(subject, settings)


def decay_later(subject: Subject, settings: Mapping[str, Any]) -> RemedyAction | None:
    """Try a later decay of the same schedule or, where it has no such option, the cosine schedule."""
    name = subject.entry_name("schedule") or ""
    if name not in _LATER:
        return _change_schedule(subject, settings)
    option, later = _LATER[name]
    path = f"schedule.{option}"
    present = subject.value(path)
    if present is None or later(present) == present:
        return _change_schedule(subject, settings)
    return try_values(subject, {path: later(present)}, {path: one_of(present, later(present))})


def warm_up(subject: Subject, settings: Mapping[str, Any]) -> RemedyAction | None:
    """Try a warm-up over a tenth of the training, or twice the present one."""
    path = "schedule.warmup"
    present = subject.number(path)
    if present is None or present >= _MOST_WARM_UP:
        return None
    proposed = positive(settings, "warmup") or _WARM_UP
    share = rounded(min(_MOST_WARM_UP, proposed if present < proposed else 2 * present))
    return try_values(subject, {path: share}, {path: {"type": "float", "low": 0.0, "high": _MOST_WARM_UP}})


def _change_schedule(subject: Subject, settings: Mapping[str, Any]) -> RemedyAction | None:
    present = subject.entry_name("schedule")
    wanted = text_of(settings, "schedule") or _DECAYING[0]
    if present is None or present == wanted or wanted not in subject.catalogue.registries.get("schedule", {}):
        return None
    return try_values(subject, {"schedule.name": wanted}, {"schedule.name": one_of(present, wanted)})
