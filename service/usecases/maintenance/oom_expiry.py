"""Expiry of out-of-memory trials: gives up trials that wait for a larger GPU than any worker has."""

from __future__ import annotations

from functools import partial

from service.contract.trial import TrialState
from service.domain.failures import min_gpu_gib
from service.domain.placement import exceeds_gpu_memory
from service.domain.states import TrialEvent
from service.storage.queries import attempts, trials
from service.storage.tables import Row
from service.storage.timestamps import MICROSECONDS
from service.storage.unit_of_work import UnitOfWork
from service.usecases.attempts.outcome import complete_if_done, stop_if_done
from service.usecases.context import Context
from service.usecases.isolation import StudyFault, for_each_study, guarded, pause_for


async def expire_oom_waiters(context: Context) -> int:
    """Give up the waiting trials that ran out of memory and need a larger GPU than any here; return how many."""
    stranded, faults = await context.transact(None, lambda unit_of_work: _unplaceable_trials(unit_of_work, context))
    for fault in faults:
        await pause_for(context, fault)
    return await for_each_study(
        context, "memory check", [(trial.study_id, partial(_expire_trial, context, trial)) for trial in stranded]
    )


async def _expire_trial(context: Context, trial: Row) -> int:
    num_given_up = await context.transact(trial.study_id, lambda unit_of_work: _expire(unit_of_work, context, trial.id))
    await complete_if_done(context, trial.study_id)
    return num_given_up


def _unplaceable_trials(unit_of_work: UnitOfWork, context: Context) -> tuple[list[Row], list[StudyFault]]:
    """Return the trials that no GPU here has enough memory for, and the faults of studies with unreadable rows."""
    stranded, faults = [], []
    for trial in trials.waiting_after_shortage(unit_of_work.connection):
        reason = guarded(trial.study_id, "memory check", partial(_reason, unit_of_work, context, trial))
        if isinstance(reason, StudyFault):
            faults.append(reason)
        elif reason is not None:
            stranded.append(trial)
    return stranded, faults


def _reason(unit_of_work: UnitOfWork, context: Context, trial: Row) -> str | None:
    """Return why no worker will execute the trial; None: a worker may."""
    floor, patience = (
        min_gpu_gib(attempts.past_attempts(unit_of_work.connection, trial.id)),
        context.limits.gone_seconds,
    )
    since = unit_of_work.now() - int(patience * MICROSECONDS)
    largest = attempts.largest_gpu_gib(unit_of_work.connection, since, trial.study_id)
    if not floor or exceeds_gpu_memory(floor, largest):
        return None
    return f"out of memory: no GPU with more than {floor:g} GiB was here for {patience / 60:g} minutes"


def _expire(unit_of_work: UnitOfWork, context: Context, trial_id: str) -> int:
    """End the trial because no GPU here has enough memory for it, if that is still true under the lock."""
    trial = trials.by_id(unit_of_work.connection, trial_id)
    if trial is None or trial.state != TrialState.WAITING:
        return 0
    reason = _reason(unit_of_work, context, trial)
    if reason is None:
        return 0
    unit_of_work.advance_trial(
        trial, TrialEvent.GIVEN_UP, reason=reason, infeasible=True, finished_at=unit_of_work.now()
    )
    stop_if_done(unit_of_work)
    return 1
