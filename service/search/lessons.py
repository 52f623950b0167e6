"""What a trial is to a model: a lesson of some kind, one still open, or nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import IntEnum

from service.contract.base import Direction
from service.contract.trial import TrialState
from service.domain.history import TrialRecord


class Role(IntEnum):
    """Of lessons, the better kind is the smaller number."""

    COMPLETED = 0
    PRUNED = 1
    INFEASIBLE = 2
    OPEN = 3
    NONE = 4


def role_of(trial: TrialRecord) -> Role:
    """File a trial; one that failed, or that somebody cancelled, says nothing of its configuration."""
    if trial.is_open:
        return Role.OPEN
    is_measured = trial.state is TrialState.COMPLETED and trial.value is not None
    if trial.infeasible or (is_measured and not math.isfinite(trial.value or 0.0)):
        return Role.INFEASIBLE
    if trial.state is TrialState.PRUNED:
        return Role.PRUNED
    return Role.COMPLETED if is_measured else Role.NONE


def is_lesson(trial: TrialRecord) -> bool:
    """Whether a model gains from a trial: it ended with a value, was pruned on the way, or proved infeasible."""
    return role_of(trial) <= Role.INFEASIBLE


def losses(trials: Iterable[TrialRecord], direction: Direction) -> dict[int, float]:
    """Number -> final value of each lesson, smaller is better, for models that want one of every trial.

    A pruned trial has the last value that it reported; an infeasible one, or a pruned one without, the worst of all.
    """
    sign = -1.0 if direction == "maximize" else 1.0
    found: dict[int, float | None] = {}
    for trial in trials:
        match role_of(trial):
            case Role.COMPLETED:
                found[trial.number] = trial.value
            case Role.PRUNED:
                found[trial.number] = trial.series[-1][1] if trial.series else None
            case Role.INFEASIBLE:
                found[trial.number] = None
    known = {number: sign * value for number, value in found.items() if value is not None and math.isfinite(value)}
    worst = max(known.values(), default=0.0)
    return {number: known.get(number, worst) for number in found}
