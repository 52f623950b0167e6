"""Search decisions: what a claim gets and the verdict on a report, for the service and the simulator.

This module loads no numerical library. A strategy that needs one imports it when it is called.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from service.contract.base import Value
from service.contract.pruner import Scheduler
from service.contract.report import Action, Verdict
from service.contract.sampler import (
    AutoSamplerSpec,
    CmaEsSamplerSpec,
    CoarseToFineSamplerSpec,
    GpSamplerSpec,
    NsgaIiSamplerSpec,
    OptunaGpSamplerSpec,
    TpeSamplerSpec,
)
from service.contract.study import StudySpec
from service.contract.trial import TrialState
from service.domain.budget import NO_USAGE, BudgetUsage, exhausted_reason
from service.domain.history import History, StageBox, Suggestion, TrialRecord
from service.domain.objective import final_value
from service.search.pruners import pruner_for
from service.search.samplers import Sampler, sampler_for
from service.search.samplers.coarse_to_fine.sampler import stages_of
from service.search.schedulers import RungScheduler, scheduler_of
from service.search.schedulers.freeze_thaw import FreezeThaw
from service.search.schedulers.rung_observations import observations_at_rung
from service.search.schedulers.rung_scheduler import Promote, describe_rank
from service.search.schedulers.successive_halving import SuccessiveHalving


@dataclass(frozen=True, slots=True)
class Suggest:
    """Decision to begin a new trial with this number and suggestion."""

    number: int
    suggestion: Suggestion


@dataclass(frozen=True, slots=True)
class Wait:
    """Decision to hand out nothing until another trial changes its state."""

    reason: str


@dataclass(frozen=True, slots=True)
class Propose:
    """Decision to hand out nothing until a person has reviewed the box of the next stage."""

    stage: StageBox
    num_stages: int


@dataclass(frozen=True, slots=True)
class Done:
    """Decision to complete the study: no trial is open and none will ever begin."""

    reason: str


_MODELS = TpeSamplerSpec, CmaEsSamplerSpec, GpSamplerSpec, OptunaGpSamplerSpec, NsgaIiSamplerSpec
"""Samplers that compare the values of trials."""

_CHOSEN_BY_CURVES = AutoSamplerSpec, GpSamplerSpec
"""Samplers whose place the model of freeze-thaw takes: it chooses new configurations itself."""

Decision = Suggest | Promote | Wait | Propose | Done


def next_action(
    history: History, spec: StudySpec, used: BudgetUsage = NO_USAGE, *, enqueued: Mapping[str, Value] | None = None
) -> Decision:
    """Decide what a claim gets when no trial waits for a worker.

    An exhausted budget comes first, then a promotion, then an enqueued configuration, then the sampler. An enqueued
    configuration takes a trial number of the budget, as a suggestion does. The decision depends on the arguments only,
    and a suggestion does not depend on `used`. The name shadows the builtin, so call it as `decide.next_action`.

    Args:
        history: the study's search trials.
        spec: a checked spec.
        used: budget usage that the history does not contain.
        enqueued: parameters of the next configuration that a person has enqueued, if any.
    """
    number, scheduler = history.next_number, scheduler_of(spec)
    reason = exhausted_reason(spec, history, used)
    if reason is None and isinstance(scheduler, SuccessiveHalving):
        promotion = scheduler.promotion(history)
        if promotion is not None:
            return promotion
    used_up = exhausted(history, spec, has_enqueued=enqueued is not None)
    has_more = used_up is None or (isinstance(scheduler, FreezeThaw) and scheduler.can_promote(history))
    if reason is not None or not has_more:
        return _end(history, spec, reason or used_up or "")
    if enqueued is not None and used_up is None:
        return Suggest(number, _with_first_rung(Suggestion(dict(enqueued), "enqueued by a user"), scheduler, number))
    sampler = sampler_for(spec)
    if used_up is None and (blocked := _blocked_by(sampler, history, spec)) is not None:
        return blocked
    if isinstance(scheduler, FreezeThaw):
        return _by_curves(scheduler, history, spec, sampler, can_begin=used_up is None)
    if scheduler is None:
        made = sampler.suggest(history, number, spec.sampler.seed)
    else:
        made = _at_rung(scheduler, history, spec, sampler)
    return Suggest(number, _with_first_rung(made, scheduler, number))


def _by_curves(
    scheduler: FreezeThaw, history: History, spec: StudySpec, sampler: Sampler, *, can_begin: bool
) -> Decision:
    """Return the promotion or the suggestion that freeze-thaw decides for."""
    made = scheduler.decide(
        history,
        can_begin=can_begin,
        suggest=lambda: _at_rung(scheduler, history, spec, sampler),
        by_model=isinstance(spec.sampler, _CHOSEN_BY_CURVES),
    )
    if isinstance(made, Promote):
        return made
    assert made is not None, "a paused trial can be promoted, or a new one can begin"
    number = history.next_number
    return Suggest(number, _with_first_rung(made, scheduler, number))


def _at_rung(scheduler: RungScheduler, history: History, spec: StudySpec, sampler: Sampler) -> Suggestion:
    """Return the sampler's suggestion from the trials as they are at a rung."""
    learned, compared = observations_at_rung(history, spec, scheduler.rungs)
    made = sampler.suggest(learned, history.next_number, spec.sampler.seed)
    if isinstance(spec.sampler, _MODELS):
        made = replace(made, reason=f"{made.reason}; trials are compared {compared}")
    return made


def _blocked_by(sampler: Sampler, history: History, spec: StudySpec) -> Wait | Propose | None:
    """Return what blocks the next suggestion: open trials that the sampler waits for, or a review; None if nothing."""
    if blocked := sampler.waits_for(history):
        return Wait(blocked)
    proposed = sampler.proposes(history)
    return None if proposed is None else Propose(proposed, len(stages_of(spec)))


def _end(history: History, spec: StudySpec, reason: str) -> Wait | Done:
    """Return `Done` if no trial is open, or `Wait` until the open ones have ended; no trial will begin any more."""
    num_open = sum(_is_awaited(trial, spec) for trial in history)
    return Wait(f"{reason}; {num_open} are still open") if num_open else Done(reason)


def completion_reason(
    history: History, spec: StudySpec, used: BudgetUsage = NO_USAGE, *, has_enqueued: bool = False
) -> str | None:
    """Return why the search is complete, or None while it is not.

    It is complete if it waits for no open trial, and either a budget is used up, or no trial number is left and no
    paused trial can be promoted.
    """
    if any(_is_awaited(trial, spec) for trial in history):
        return None
    if reason := exhausted_reason(spec, history, used):
        return reason
    reason = exhausted(history, spec, has_enqueued=has_enqueued)
    return None if reason is None or _can_promote(history, spec) else reason


def _can_promote(history: History, spec: StudySpec) -> bool:
    scheduler = scheduler_of(spec)
    if isinstance(scheduler, FreezeThaw):
        return scheduler.can_promote(history)
    return scheduler is not None and scheduler.promotion(history) is not None


def unpromoted(history: History, spec: StudySpec) -> list[tuple[int, float | None, str]]:
    """Return (number, value reached, reason) for each paused trial that is not promoted when the search is complete."""
    scheduler = scheduler_of(spec)
    paused = [trial for trial in history if trial.state is TrialState.PAUSED and trial.rung_results]
    values = [final_value(spec.primary_objective, trial.series) for trial in paused]
    return [
        (
            trial.number,
            value if value is not None and math.isfinite(value) else None,
            f"not promoted: {describe_rank(trial.rung_results[-1])}"
            if scheduler is None
            else scheduler.not_promoted_reason(history, trial),
        )
        for trial, value in zip(paused, values, strict=True)
    ]


def _is_awaited(trial: TrialRecord, spec: StudySpec) -> bool:
    """Return whether a search that begins no more trials waits for this one.

    It waits for open trials, except those that a scheduler has paused and need not promote.
    """
    paused = trial.state is TrialState.PAUSED and isinstance(spec.pruner, Scheduler)
    return trial.is_open and not paused


def _with_first_rung(suggestion: Suggestion, scheduler: RungScheduler | None, number: int) -> Suggestion:
    """Return the suggestion with the step of its trial's first rung, if there is a scheduler."""
    return suggestion if scheduler is None else replace(suggestion, run_until=scheduler.rungs.first_rung(number))


def num_planned(spec: StudySpec) -> int | None:
    """Return the number of search trials: the budget's or the sampler's, whichever is smaller; None if unlimited."""
    limits = (spec.budget.trials, sampler_for(spec).remaining(History()))
    return min((limit for limit in limits if limit is not None), default=None)


def exhausted(history: History, spec: StudySpec, *, has_enqueued: bool = False) -> str | None:
    """Return why no new trial can begin (the budget's trials or the sampler are exhausted), or None while one can."""
    number = history.next_number
    if spec.budget.trials is not None and number >= spec.budget.trials:
        return f"all {spec.budget.trials} trials of the budget were suggested"
    if not has_enqueued and sampler_for(spec).remaining(history) == 0:
        return f"the {spec.sampler.name} sampler has suggested all its configurations, {number} trials"
    return None


def judge(history: History, spec: StudySpec, number: int) -> Verdict:
    """Judge trial `number` at its newest step with the spec's pruner.

    The history must contain the newest value (`History.with_value`). A value that is not finite stops the trial under
    any pruner. At its last step the trial continues, because stopping it there would save nothing.
    """
    trial = history.trials[number]
    step, _ = trial.series[-1]
    for at, value in trial.series:
        if not math.isfinite(value):
            reason = f"diverged: {spec.primary_objective.metric} is {value} at step {at}"
            return Verdict(action=Action.STOP, reason=reason, step=step)
    last = _last_step(spec, trial.stage)
    if last is not None and step >= last:
        return Verdict(action=Action.CONTINUE, reason=f"step {step} is the last", step=step)
    return pruner_for(spec).judge(history, number)


def overrides_of(spec: StudySpec, stage: int | None) -> Mapping[str, Value]:
    """Return the task settings that a coarse-to-fine stage overrides."""
    if stage is None or not isinstance(spec.sampler, CoarseToFineSamplerSpec):
        return {}
    return stages_of(spec)[stage].overrides


def _last_step(spec: StudySpec, stage: int | None) -> int | None:
    """Return the absolute step that a trial trains to, or None if it is unknown."""
    if isinstance(spec.sampler, CoarseToFineSamplerSpec) and stage is not None:
        resource = stages_of(spec)[stage].resource
        if resource is not None:
            return resource
    return spec.resource.max if spec.resource else None
