"""What a trial is to a model: a lesson of some kind, one still open, or nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import IntEnum

from service.contract.base import Directions
from service.contract.trial import TrialState
from service.domain.front import Losses, worst
from service.domain.front import losses as turned
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
    is_measured = trial.state is TrialState.COMPLETED and trial.values is not None
    if trial.infeasible or (is_measured and not all(map(math.isfinite, trial.values or ()))):
        return Role.INFEASIBLE
    if trial.state is TrialState.PRUNED:
        return Role.PRUNED
    return Role.COMPLETED if is_measured else Role.NONE


def is_lesson(trial: TrialRecord) -> bool:
    """Whether a model gains from a trial: it ended with a value, was pruned on the way, or proved infeasible."""
    return role_of(trial) <= Role.INFEASIBLE


def losses(trials: Iterable[TrialRecord], directions: Directions) -> dict[int, Losses]:
    """Number -> final values of each lesson, smaller is better, for models that want some of every trial.

    A pruned trial has the last value that it reported, where that is all there is to know; an infeasible one, or a
    pruned one without, the worst of all.
    """
    found: dict[int, tuple[float, ...] | None] = {}
    for trial in trials:
        match role_of(trial):
            case Role.COMPLETED:
                found[trial.number] = trial.values
            case Role.PRUNED:
                found[trial.number] = (trial.series[-1][1],) if trial.series and len(directions) == 1 else trial.values
            case Role.INFEASIBLE:
                found[trial.number] = None
    known = {
        number: turned(values, directions)
        for number, values in found.items()
        if values is not None and all(map(math.isfinite, values))
    }
    beyond = worst(list(known.values())) or (0.0,) * len(directions)
    return {number: known.get(number, beyond) for number in found}
