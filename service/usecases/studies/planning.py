"""Planning: estimates what a study will cost, and replays a recorded study under another pruner; changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from service.contract.plan import Plan, Replay, ReplayRequest, Spent
from service.contract.preflight import PreflightResult
from service.contract.problem import ErrorCode
from service.contract.study import StudySpec
from service.contract.trial import TrialState
from service.domain.errors import DomainError
from service.domain.history import History
from service.domain.objective import final_value, is_better
from service.search.replay.plan import plan, trainings_per_trial
from service.search.replay.simulate import replay
from service.search.validation import check_strategy
from service.storage.damage import reading
from service.storage.queries import attempts, preflights, studies
from service.storage.tables import Connection, Row
from service.usecases.context import Context
from service.usecases.studies.creation import check_study
from service.usecases.studies.study_lookup import find_study

_TIME_CHECK = "seconds_per_epoch"
"""Name of the check that times an epoch at the centre and the corners of the space."""

_NEWEST = 500
"""Number of newest attempts to time a step with: the latest times predict the next ones best."""


async def plan_study(context: Context, given: StudySpec, like: str | None = None) -> Plan:
    """Check a spec and return its cost, also in time where a step was timed.

    With `like` the times are those of that other study: of its trials, or of its preflight while no trial has ended.
    Without, they are those of the preflight of the study with the spec's name, if it has the same task.

    Raises:
        DomainError: The spec is invalid; or the other study does not exist, or none of its trials has been timed.
    """
    spec, prior = await check_study(context, given)
    timed = await context.database.read_for_viewer(lambda connection: _timed(connection, spec, like))
    planned = plan(spec, timed.step_seconds if timed else None)
    if timed is not None:
        planned = planned.model_copy(update={"step_seconds_range": timed.range})
    notes = [*(timed.notes if timed else []), *([prior.summary] if prior else [])]
    return planned.model_copy(update={"notes": [*planned.notes, *notes]})


@dataclass(frozen=True)
class Timed:
    """Duration of one step, and notes on where it comes from."""

    step_seconds: float
    notes: list[str]
    range: tuple[float, float] | None = None
    """The shortest and the longest at the corners of the space."""


def _timed(connection: Connection, spec: StudySpec, like: str | None) -> Timed | None:
    """Return the duration of a step by another study, or by the preflight of the study with the spec's name."""
    if like is not None:
        return _timed_by_trials(connection, spec, find_study(connection, like))
    study = studies.find(connection, f"{spec.project}/{spec.name}")
    if study is None or not _is_same_task(studies.spec(connection, study.id, study.spec_version), spec):
        return None
    return _timed_by_preflight(connection, spec, study)


def _is_same_task(stored: StudySpec, spec: StudySpec) -> bool:
    """Return whether a spec has the task of a stored one, in which the preflight may have replaced `auto`."""
    train = spec.task.train if spec.task else None
    if train is None or train.get("batch_size") != "auto":
        return stored.task == spec.task
    theirs = stored.task.train if stored.task else None
    return theirs is not None and {**theirs, "batch_size": "auto"} == train


def _timed_by_preflight(connection: Connection, spec: StudySpec, study: Row) -> Timed | None:
    """Return how long an epoch took in a study's newest preflight; None: steps are no epochs, or none was timed."""
    stored = preflights.newest_result(connection, study.id)
    if stored is None or spec.resource is None or spec.resource.name != "epoch":
        return None
    with reading("the preflight", study):
        result = PreflightResult.model_validate(stored)
        seconds = _seconds_per_epoch(result)
    if result.seconds_per_epoch is None:
        return None
    low, high = min(seconds), max(seconds)
    corners = f" ({low:.3g} to {high:.3g} s at the corners of the space)" if low < high else ""
    note = f"an epoch took {result.seconds_per_epoch:.3g} s in the preflight of {study.name}, at the centre{corners}"
    return Timed(result.seconds_per_epoch, [note], (low, high) if low < high else None)


def _seconds_per_epoch(result: PreflightResult) -> list[float]:
    """Return the seconds per epoch that the preflight timed, at the centre and the corners of the space."""
    corners = [corner for check in result.checks for corner in _corners(check.figures) if check.name == _TIME_CHECK]
    seconds = [result.seconds_per_epoch, *(corner.get("seconds_per_epoch") for corner in corners)]
    return [each for each in seconds if isinstance(each, int | float)]


def _corners(figures: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = figures.get("corners")
    return [corner for corner in found if isinstance(corner, Mapping)] if isinstance(found, list) else []


def _timed_by_trials(connection: Connection, spec: StudySpec, study: Row) -> Timed:
    """Return the median duration of a training step in another study, including the start and end of each attempt.

    If `spec` has no resource, it is the median duration of a trial. While no trial has ended, the preflight counts.
    """
    is_whole = spec.resource is None
    seconds = attempts.step_seconds(connection, study.id, limit=_NEWEST, is_whole=is_whole)
    if not seconds and (timed := _timed_by_preflight(connection, spec, study)) is not None:
        return timed
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
