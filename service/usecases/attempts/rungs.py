"""Rung results: stores them with the report that reaches a rung, and pauses trials that end there until promotion."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from service.contract.pruner import Scheduler
from service.contract.study import StudySpec
from service.domain.history import History, RungResult
from service.domain.rungs import Rungs, rungs_of
from service.domain.states import TrialEvent
from service.search.schedulers import scheduler_of
from service.search.schedulers.freeze_thaw import FreezeThaw
from service.search.schedulers.rung_scheduler import Promote, describe_rank
from service.storage.queries import checkpoints, history, trials
from service.storage.tables import Row
from service.storage.unit_of_work import UnitOfWork
from service.usecases.specs import store_spec

TrialChange = tuple[TrialEvent, str, dict[str, Any]]
"""The event for a trial, the reason, and the columns that change with it."""


def record_rung_results(
    unit_of_work: UnitOfWork, spec: StudySpec, known: History, trial_id: str, attempt: int
) -> History | None:
    """Store the results of the rungs that the trial has reached with the values of this transaction.

    The ranks come from the current history under the study's lock, so that concurrent results see each other.

    Returns:
        The history with the new rung results. None: the trial has reached no further rung.
    """
    scheduler = scheduler_of(spec)
    trial = trials.by_id(unit_of_work.connection, trial_id)
    assert trial is not None
    if scheduler is None or trial.number is None or not _may_reach_rung(scheduler.rungs, trial):
        return None
    now = history.refresh(unit_of_work.connection, trial.study_id, spec.primary_objective.metric, known)
    results = scheduler.new_rung_results(now, trial.number)
    if not results:
        return None
    record = now.trials[trial.number]
    record = replace(record, rung_results=(*record.rung_results, *results))
    unit_of_work.set_trial(trial_id, rung_results=_rows(record.rung_results))
    for result in results:
        unit_of_work.record("rung_reached", trial=trial, attempt=attempt, data=asdict(result))
    return now.with_trial(record)


def promote(unit_of_work: UnitOfWork, spec: StudySpec, known: History, promotion: Promote) -> None:
    """Let a paused trial wait for a worker, if the current history still says that it is the one to promote."""
    scheduler = scheduler_of(spec)
    assert scheduler is not None
    study = unit_of_work.study
    now = history.refresh(unit_of_work.connection, study.id, spec.primary_objective.metric, known)
    if isinstance(scheduler, FreezeThaw):
        promotion_now = scheduler.confirmed(known, now, promotion)  # the model is not asked again under the lock
    else:
        promotion_now = scheduler.promotion(now)
    if promotion_now is None or promotion_now.number != promotion.number:
        return
    trial = trials.by_number(unit_of_work.connection, study.id, promotion.number)
    assert trial is not None
    record = promotion_now.of(now.trials[promotion.number])
    unit_of_work.advance_trial(
        trial,
        TrialEvent.PROMOTED,
        reason=promotion_now.reason,
        run_until=record.run_until,
        rung_results=_rows(record.rung_results),
    )


def pause_or_finish(
    unit_of_work: UnitOfWork, spec: StudySpec, trial: Row, event: TrialEvent, reason: str
) -> TrialChange:
    """Return the next event of a trial whose attempt succeeded or paused, by the rung that it had to train to."""
    rungs = rungs_of(spec) if trial.number is not None else None
    result = _result_at_target(trial)
    if rungs is None or result is None or (trial.last_step or 0) >= rungs.last:
        if event is TrialEvent.PAUSED and (rungs is None or (trial.last_step or 0) < rungs.last):
            return TrialEvent.REQUEUED, f"{reason}; it continues from there", {}
        return TrialEvent.COMPLETED, reason, {}
    if checkpoints.canonical(unit_of_work.connection, trial.id):
        return TrialEvent.PAUSED, f"paused: {describe_rank(result)}", {}
    _downgrade_to_stop_mode(unit_of_work, spec, trial, result)
    if rungs.survives(result):
        reason = f"{describe_rank(result)}: starts again and trains to the end, because it saved no checkpoint"
        return TrialEvent.REQUEUED, reason, {"run_until": rungs.last}
    return TrialEvent.PRUNED, f"{describe_rank(result)}, and saved no checkpoint to continue from", {}


def _may_reach_rung(rungs: Rungs, trial: Row) -> bool:
    """Return whether the trial's steps reach a rung for which it has no result yet."""
    known = {result["step"] for result in trial.rung_results}
    steps = rungs.of(trial.number)[:-1]
    return trial.last_step is not None and any(rung <= trial.last_step and rung not in known for rung in steps)


def _result_at_target(trial: Row) -> RungResult | None:
    """Return the trial's result at the rung that it had to train to, or at a later one."""
    results = [RungResult(**result) for result in trial.rung_results]
    reached = [result for result in results if trial.run_until is not None and result.step >= trial.run_until]
    return reached[-1] if reached else None


def _downgrade_to_stop_mode(unit_of_work: UnitOfWork, spec: StudySpec, trial: Row, result: RungResult) -> None:
    """Switch the pruner to mode "stop" and tell users why.

    A task that saves no checkpoints cannot be promoted, so rung results are final from now on.
    """
    study, pruner = unit_of_work.study, spec.pruner
    assert isinstance(pruner, Scheduler)
    if pruner.mode == "stop":
        return
    notice = (
        f"{pruner.name} continues in mode stop: trial {trial.number} saved no checkpoint by step {result.step}, "
        "so trials cannot pause and be promoted"
    )
    changed = spec.model_copy(update={"pruner": pruner.model_copy(update={"mode": "stop"})})
    store_spec(unit_of_work, study.id, study.spec_version + 1, changed)
    unit_of_work.set_study(spec_version=study.spec_version + 1, notice=notice)
    unit_of_work.record("pruner_changed", trial=trial, data={"mode": "stop", "reason": notice})


def _rows(results: tuple[RungResult, ...]) -> list[dict[str, Any]]:
    return [asdict(result) for result in results]
