"""What a trial is to a model: a lesson of some kind, one still open, or nothing."""

from __future__ import annotations

import math
from enum import IntEnum

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
