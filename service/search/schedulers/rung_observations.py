"""Observations at a rung: converts the trials of a scheduler so that samplers compare all of them at one rung."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

from service.contract.study import Objective, StudySpec
from service.contract.trial import TrialState
from service.domain.history import History, TrialRecord
from service.domain.objective import final_value
from service.domain.rungs import Rungs

_WITHOUT_RESULT = frozenset({TrialState.FAILED, TrialState.CANCELLED})

_KEPT = 64
"""Number of rungs whose observations are cached: a few per active study."""

RungObservations = tuple[tuple[TrialRecord, ...], int]
"""The trials as observations at a rung, and the number of trials that have reached it."""

_known: OrderedDict[tuple[str, str, int], tuple[Sequence[TrialRecord], RungObservations]] = OrderedDict()
_lock = threading.Lock()


def observations_at_rung(history: History, spec: StudySpec, rungs: Rungs) -> tuple[History, str]:
    """Return the history as observations at one rung, and a description of that rung.

    As in BOHB (Falkner et al. 2018), all trials are compared at the highest rung that enough trials for a model have
    reached (number of parameters + 2). Trials that reached it count as completed. Trials paused below it count as
    pruned, so that only trials in training are pending observations.
    """
    enough = len(spec.space) + 2
    for rung in reversed(rungs.steps):
        trials, num = _at_rung(history.trials, spec, rung)
        if num >= enough or rung == rungs.steps[0]:
            break
    return replace(history, trials=trials), f"by step {rung}, which {num} have reached"


def _at_rung(trials: Sequence[TrialRecord], spec: StudySpec, rung: int) -> RungObservations:
    """Return the trials as observations at a rung, and the number of trials that have reached it.

    The observation of a record that is still the same object is reused from the previous call. Records are immutable,
    and models also cache by the identity of a record.
    """
    key = spec.project, spec.name, rung
    with _lock:
        before, (old, _) = _known.get(key, ((), ((), 0)))
    num_shared = min(len(before), len(trials))
    made = tuple(
        old[at]
        if at < num_shared and before[at] is trial
        else _observation(trial, _value_at(trial, spec.primary_objective, rung))
        for at, trial in enumerate(trials)
    )
    found = made, sum(_has_value(lesson, trial) for lesson, trial in zip(made, trials, strict=True))
    with _lock:
        _known[key] = trials, found
        _known.move_to_end(key)
        while len(_known) > _KEPT:
            _known.popitem(last=False)
    return found


def _value_at(trial: TrialRecord, objective: Objective, rung: int) -> float | None:
    """Return the objective at a rung.

    None if the trial did not reach the rung, is infeasible, failed or was cancelled, or has no finite value there.
    """
    if trial.infeasible or trial.state in _WITHOUT_RESULT:
        return None
    for result in trial.rung_results:
        if result.step == rung:
            return result.value
    if trial.last_step is None or trial.last_step < rung:
        return None
    value = final_value(objective, tuple(point for point in trial.series if point[0] <= rung))
    return value if value is not None and math.isfinite(value) else None


def _observation(trial: TrialRecord, value: float | None) -> TrialRecord:
    if value is not None:
        return replace(trial, state=TrialState.COMPLETED, value=value)
    return replace(trial, state=TrialState.PRUNED) if trial.state is TrialState.PAUSED else trial


def _has_value(observation: TrialRecord, trial: TrialRecord) -> bool:
    """Return whether an observation has a value at the rung; a trial that completed before the rung has none."""
    return observation.state is TrialState.COMPLETED and observation is not trial
