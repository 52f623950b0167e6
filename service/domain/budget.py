"""Budgets of a study: stopping conditions other than the number of trials, and extensions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from service.contract.problem import ErrorCode
from service.contract.study import Budget, ExtendRequest, StudySpec
from service.contract.trial import TrialState
from service.domain.errors import DomainError
from service.domain.history import History, TrialRecord
from service.domain.objective import is_better
from service.domain.other_data import stages_on_other_data

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class BudgetUsage:
    """The part of a search's budget usage that its history does not contain."""

    seconds: float = 0.0
    """Time since the first trial was handed out, counted while the study was active."""
    device_seconds: float = 0.0
    """Device time of all attempts of its trials, running ones up to now."""


NO_USAGE = BudgetUsage()

_COUNTED = frozenset({TrialState.COMPLETED, TrialState.PRUNED})
"""States that count as trials without improvement."""

_COMMITTED = frozenset({TrialState.RUNNING, TrialState.WAITING})
"""States of trials that will train to their `run_until`."""

_WORDS = {
    "trials": "trials",
    "hours": "hours",
    "device_hours": "device-hours",
    "resource": "steps",
    "failures": "failed trials",
    "target": "a target",
    "no_improvement": "trials without improvement",
}


def has_stopping_limits(budget: Budget) -> bool:
    """Return whether the budget has a stopping condition other than the number of trials."""
    return budget.model_copy(update={"trials": None}) != Budget()


def exhausted_reason(spec: StudySpec, history: History, usage: BudgetUsage = NO_USAGE) -> str | None:
    """Return why no trial may begin or be promoted any more, or None while trials may.

    The number of trials is not checked here.
    """
    return next(_exhausted_reasons(spec, history, usage), None)


def _exhausted_reasons(spec: StudySpec, history: History, usage: BudgetUsage) -> Iterator[str]:
    """Yield a sentence for each budget that is used up."""
    budget = spec.budget
    if budget.hours is not None and usage.seconds >= budget.hours * SECONDS_PER_HOUR:
        yield f"the budget of {budget.hours:g} h is used up"
    if budget.device_hours is not None and usage.device_seconds >= budget.device_hours * SECONDS_PER_HOUR:
        yield f"the budget of {budget.device_hours:g} device-hours is used up"
    if budget.resource is not None and (steps := num_steps(history, spec)) >= budget.resource:
        yield f"the budget of {budget.resource} steps is used up: its trials have trained or will train {steps}"
    if budget.failures is not None and num_failures(history) >= budget.failures:
        yield f"the budget of failures is used up: {num_failures(history)} of {history.next_number} trials have failed"
    if budget.target is None and budget.no_improvement is None:
        return
    best = _last_improvement(history, spec)
    if best is None or best.value is None:
        return
    if budget.target is not None and not is_better(spec.primary_objective, budget.target, best.value):
        yield f"trial {best.number} reached {best.value:.6g}, and the target is {budget.target:g}"
    if budget.no_improvement is not None and since_improvement(history, best) >= budget.no_improvement:
        yield f"the last {since_improvement(history, best)} trials gave no better value than trial  {best.number}"


def extended_budget(spec: StudySpec, request: ExtendRequest) -> Budget:
    """Return the study's budget with the requested extensions.

    Raises:
        DomainError: an extension does not go beyond the current limit, or the budget has no such limit.
    """
    for name, value in request.model_dump(exclude_none=True).items():
        current = getattr(spec.budget, name)
        if current is None:
            message = (
                f"the study has no budget of {_WORDS[name]}, so there is none to extend; see: study show {spec.name}"
            )
            raise DomainError(ErrorCode.STUDY_STATE, message)
        if name == "target":
            if not is_better(spec.primary_objective, value, current):
                raise DomainError(ErrorCode.STUDY_STATE, f"the target is {current:g}; name a better one to extend it")
        elif value <= current:
            message = f"the budget is {current:g} {_WORDS[name]}; name more than that to extend it"
            raise DomainError(ErrorCode.STUDY_STATE, message)
    return spec.budget.model_copy(update=request.model_dump(exclude_none=True))


def num_steps(history: History, spec: StudySpec) -> int:
    """Count the steps of all trials, including those that running and waiting trials will still train."""
    last = spec.resource.max if spec.resource is not None else None
    return sum(committed_steps(trial.state, trial.last_step, trial.run_until, last) for trial in history)


def committed_steps(state: str, last_step: int | None, run_until: int | None, last: int | None) -> int:
    """Return the steps that a trial has trained, or will have trained when its present attempt ends.

    Args:
        state: its state.
        last_step: its newest step.
        run_until: the step that it trains to; None: to its end.
        last: the step at which the study's trials end, if it is known.
    """
    goal = (run_until or last or 0) if state in _COMMITTED else 0
    return max(last_step or 0, goal)


def num_failures(history: History) -> int:
    """Count the failed trials."""
    return sum(trial.state is TrialState.FAILED for trial in history)


def _last_improvement(history: History, spec: StudySpec) -> TrialRecord | None:
    """Return the best trial; in a multi-objective study, the trial on the Pareto front that ended last."""
    if len(spec.objectives) == 1:
        return history.best(spec.primary_objective.direction, stages_on_other_data(spec))
    return max(history.pareto_front(spec.directions), key=_end, default=None)


def since_improvement(history: History, best: TrialRecord) -> int:
    """Count the trials that were completed or pruned after the best one ended."""
    return sum(trial.state in _COUNTED and _end(trial) > _end(best) for trial in history)


def _end(trial: TrialRecord) -> tuple[int, int]:
    return trial.finished_at or 0, trial.number
