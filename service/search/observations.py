"""Classifies trials as observations for samplers: completed, pruned, infeasible, pending, or none."""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import IntEnum

from service.contract.base import Directions
from service.contract.trial import TrialState
from service.domain.history import TrialRecord
from service.domain.pareto import LossVector, nadir
from service.domain.pareto import losses as turned


class ObservationKind(IntEnum):
    """Kind of observation that a trial is. Among finished observations, a smaller number is better."""

    COMPLETED = 0
    PRUNED = 1
    INFEASIBLE = 2
    OPEN = 3
    NONE = 4


def observation_kind(trial: TrialRecord) -> ObservationKind:
    """Classify a trial. A failed or cancelled trial is no observation, because it says nothing about its parameters."""
    if trial.is_open:
        return ObservationKind.OPEN
    is_measured = trial.state is TrialState.COMPLETED and trial.values is not None
    if trial.infeasible or (is_measured and not all(map(math.isfinite, trial.values or ()))):
        return ObservationKind.INFEASIBLE
    if trial.state is TrialState.PRUNED:
        return ObservationKind.PRUNED
    return ObservationKind.COMPLETED if is_measured else ObservationKind.NONE


def is_observation(trial: TrialRecord) -> bool:
    """Return whether a sampler can learn from a trial: it is completed with a value, pruned, or infeasible."""
    return observation_kind(trial) <= ObservationKind.INFEASIBLE


def losses(trials: Iterable[TrialRecord], directions: Directions) -> dict[int, LossVector]:
    """Return trial number -> loss vector of each observation, for models that need a value for every trial.

    Smaller is better. In a single-objective study, a pruned trial counts with its last reported value; otherwise it
    counts with its final values. Infeasible trials, and pruned ones without a finite value, get the worst loss of each
    objective among the others.
    """
    found: dict[int, tuple[float, ...] | None] = {}
    for trial in trials:
        match observation_kind(trial):
            case ObservationKind.COMPLETED:
                found[trial.number] = trial.values
            case ObservationKind.PRUNED:
                found[trial.number] = (trial.series[-1][1],) if trial.series and len(directions) == 1 else trial.values
            case ObservationKind.INFEASIBLE:
                found[trial.number] = None
    known = {
        number: turned(values, directions)
        for number, values in found.items()
        if values is not None and all(map(math.isfinite, values))
    }
    beyond = nadir(list(known.values())) or (0.0,) * len(directions)
    return {number: known.get(number, beyond) for number in found}
