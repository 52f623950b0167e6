"""Planning: estimates what a study will cost, and replays a recorded study under another pruner; changes nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from statistics import median

from service.contract.plan import Plan, Replay, ReplayRequest, Spent
from service.contract.problem import ErrorCode
from service.contract.study import StudySpec
from service.contract.trial import TrialState
from service.domain.errors import DomainError
from service.domain.history import History
from service.domain.objective import final_value, is_better
from service.search.replay.plan import plan, trainings_per_trial
from service.search.replay.simulate import replay
from service.search.validation import check_strategy
from service.storage.queries import attempts, studies
from service.storage.tables import Connection
from service.usecases.context import Context
from service.usecases.studies.creation import check_study
from service.usecases.studies.study_lookup import find_study

_NEWEST = 500
"""Number of newest attempts to time a step with: the latest times predict the next ones best."""


async def plan_study(context: Context, given: StudySpec, like: str | None = None) -> Plan:
    """Check a spec and return its cost; with `like`, also in time, from the step time of that other study.

    Raises:
        DomainError: The spec is invalid; or the other study does not exist, or none of its trials has been timed.
    """
    spec, prior = await check_study(context, given)
    timed = await context.database.read_for_viewer(lambda connection: _timed(connection, spec, like)) if like else None
    planned = plan(spec, timed.step_seconds if timed else None)
    notes = [*(timed.notes if timed else []), *([prior.summary] if prior else [])]
    return planned.model_copy(update={"notes": [*planned.notes, *notes]})


@dataclass(frozen=True)
class Timed:
    """Duration of one step, and notes on where it comes from."""

    step_seconds: float
    notes: list[str]


def _timed(connection: Connection, spec: StudySpec, like: str) -> Timed:
    """Return the median duration of a training step in another study, including the start and end of each attempt.

    If `spec` has no resource, it is the median duration of a trial.
    """
    study, is_whole = find_study(connection, like), spec.resource is None
    seconds = attempts.step_seconds(connection, study.id, limit=_NEWEST, is_whole=is_whole)
    if not seconds:
        message = f"no trial of {study.name!r} has been timed yet; name a study with ended trials, or give the seconds"
        raise DomainError(ErrorCode.STUDY_STATE, message)
    theirs = studies.spec(connection, study.id, study.spec_version)
    typical = median(seconds)
    what = "a trial" if is_whole else "a step"
    notes = [f"{what} took {typical:.3g} s in {study.name}, the median of {len(seconds)} attempts"]
    if unlike := [part for part in ("data", "model", "batch_size") if _setting(spec, part) != _setting(theirs, part)]:
        notes.append(f"{study.name} has another {', '.join(unlike)}: a step may take longer or shorter here")
    return Timed(typical / trainings_per_trial(theirs)[0], notes)


def _setting(spec: StudySpec, part: str) -> object:
    train = spec.task.train if spec.task else None
    return train.get(part) if train else None


async def replay_study(context: Context, name: str, request: ReplayRequest) -> Replay:
    """Simulate a study again with its recorded curves under another pruner.

    Raises:
        DomainError: The pruner does not fit the study, or no trial has reported values yet.
    """

    def read(connection: Connection) -> tuple[StudySpec, History]:
        study = find_study(connection, name)
        spec = studies.spec(connection, study.id, study.spec_version)
        return spec, context.histories.latest(connection, study.id, spec.primary_objective.metric)

    spec, recorded = await context.database.read_for_viewer(read)
    replayed = spec.model_copy(update={"pruner": request.pruner})
    errors = check_strategy(replayed)
    if errors:
        raise DomainError(ErrorCode.INVALID_SPEC, f"{errors[0].path}: {errors[0].message}", errors)
    if not any(trial.series for trial in recorded):
        message = (
            f"no trial of {spec.name!r} has reported {spec.primary_objective.metric} yet; replay it when some "
            "have ended"
        )
        raise DomainError(ErrorCode.STUDY_STATE, message)
    played = await asyncio.to_thread(replay, replayed, recorded, workers=request.workers)
    before, after = _spent(spec, recorded), _spent(spec, played.history)
    short = sum(trial.state is not TrialState.COMPLETED for trial in recorded)
    notes = []
    if short:
        notes.append(f"{short} of {len(recorded)} trials were not trained to the end; their later values are unknown")
    return Replay(
        recorded=before,
        replayed=after,
        saved_fraction=1 - after.num_steps / before.num_steps if before.num_steps else 0.0,
        regret=None if before.best is None or after.best is None else abs(before.best - after.best),
        notes=notes,
    )


def _spent(spec: StudySpec, history: History) -> Spent:
    """Return the number of steps of all trials and the best value that any trial reached, even if it did not finish."""
    best: tuple[float, int] | None = None
    for trial in history:
        value = final_value(spec.primary_objective, trial.series)
        if (
            value is not None
            and not trial.infeasible
            and (best is None or is_better(spec.primary_objective, value, best[0]))
        ):
            best = value, trial.number
    num_steps = sum(trial.last_step or 0 for trial in history)
    return Spent(num_steps=num_steps, best=best and best[0], trial=best and best[1])
