"""What a model learns of trials under a scheduler: how each stood at one rung, the same for all."""

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
"""How many rungs' lessons are kept: a few per study at work."""

Lessons = tuple[tuple[TrialRecord, ...], int]
"""The trials as lessons, and how many of them have reached the rung."""

_known: OrderedDict[tuple[str, str, int], tuple[Sequence[TrialRecord], Lessons]] = OrderedDict()
_lock = threading.Lock()


def lessons(history: History, spec: StudySpec, rungs: Rungs) -> tuple[History, str]:
    """The history as a model learns from it, and the rung that this is about, in words.

    As in BOHB (Falkner et al. 2018), trials are compared at one rung, the highest that enough of them for a model have
    reached; there they count as completed. What was left behind below counts as pruned, paused or not, so that only
    what trains is kept away from as open.
    """
    enough = len(spec.space) + 2
    for rung in reversed(rungs.steps):
        trials, num = _at_rung(history.trials, spec, rung)
        if num >= enough or rung == rungs.steps[0]:
            break
    return replace(history, trials=trials), f"by step {rung}, which {num} have reached"


def _at_rung(trials: Sequence[TrialRecord], spec: StudySpec, rung: int) -> Lessons:
    """The trials as they stood at a rung.

    The lesson of a record that is still the same object is taken over from the last question: records never change,
    and models keep what they made of a record, too.
    """
    key = spec.project, spec.name, rung
    with _lock:
        before, (old, _) = _known.get(key, ((), ((), 0)))
    num_shared = min(len(before), len(trials))
    made = tuple(
        old[at] if at < num_shared and before[at] is trial else _lesson(trial, _value_at(trial, spec.watched, rung))
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
    """What the objective was at a rung; none where the trial did not get so far, or not well."""
    if trial.infeasible or trial.state in _WITHOUT_RESULT:
        return None
    for arrival in trial.arrivals:
        if arrival.step == rung:
            return arrival.value
    if trial.last_step is None or trial.last_step < rung:
        return None
    value = final_value(objective, tuple(point for point in trial.series if point[0] <= rung))
    return value if value is not None and math.isfinite(value) else None


def _lesson(trial: TrialRecord, value: float | None) -> TrialRecord:
    if value is not None:
        return replace(trial, state=TrialState.COMPLETED, value=value)
    return replace(trial, state=TrialState.PRUNED) if trial.state is TrialState.PAUSED else trial


def _has_value(lesson: TrialRecord, trial: TrialRecord) -> bool:
    """Whether a lesson tells of the rung, and not of a trial that ended by itself before."""
    return lesson.state is TrialState.COMPLETED and lesson is not trial
