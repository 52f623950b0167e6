"""The budgets that end a search before its numbers do: what of them is used, and which one is used up."""

from __future__ import annotations

from dataclasses import dataclass

from service.contract.study import Budget, StudySpec
from service.contract.trial import TrialState
from service.domain.history import History, TrialRecord
from service.domain.objective import is_better

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Used:
    """What a search has used and its history does not show."""

    seconds: float = 0.0
    """Since its first trial was handed out, as long as the study was active."""
    device_seconds: float = 0.0
    """Of all attempts of its trials together, running ones as far as they have come."""


NOTHING = Used()


def ends_early(budget: Budget) -> bool:
    """Whether anything but its numbers may end a search."""
    return budget.model_copy(update={"trials": None}) != Budget()


def used_up(spec: StudySpec, history: History, used: Used = NOTHING) -> str | None:
    """Why nothing of a search may begin or be promoted any more, whatever numbers are left; None while it may."""
    budget = spec.budget
    if budget.hours is not None and used.seconds >= budget.hours * SECONDS_PER_HOUR:
        return f"the {budget.hours:g} hours of the budget are over"
    if budget.device_hours is not None and used.device_seconds >= budget.device_hours * SECONDS_PER_HOUR:
        return f"the {budget.device_hours:g} device-hours of the budget are used up"
    if budget.failures is not None and num_failures(history) >= budget.failures:
        return f"{num_failures(history)} trials have failed, and the budget allows for {budget.failures}"
    best = history.best(spec.objective.direction)
    if best is None or best.value is None:
        return None
    if budget.target is not None and not is_better(spec.objective, budget.target, best.value):
        return f"trial {best.number} reached {best.value:.6g}, and the target is {budget.target:g}"
    if budget.no_improvement is not None:
        num_since, improved = since_improvement(history, spec)
        if num_since >= budget.no_improvement:
            return f"the last {num_since} trials that ended brought none better than trial {improved}"
    return None


def num_failures(history: History) -> int:
    """Trials that ended failed."""
    return sum(trial.state is TrialState.FAILED for trial in history)


def since_improvement(history: History, spec: StudySpec) -> tuple[int, int | None]:
    """How many trials have ended since a completed one was better than all before it, and which one that was.

    Counted are completed and pruned ones, in the order in which they ended; 0 and none before the first has completed.
    """
    num, best = 0, None
    for trial in sorted(filter(_has_ended, history), key=lambda trial: (trial.finished_at or 0, trial.number)):
        if trial.state is TrialState.COMPLETED and trial.value is not None:
            if best is None or is_better(spec.objective, trial.value, best.value or 0.0):
                num, best = 0, trial
                continue
        num += 1
    return (num, best.number) if best is not None else (0, None)


def _has_ended(trial: TrialRecord) -> bool:
    return trial.state in {TrialState.COMPLETED, TrialState.PRUNED}
