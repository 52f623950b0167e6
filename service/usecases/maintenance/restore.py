"""Restore from a backup: starts a new epoch of the database, which invalidates all earlier leases."""

from __future__ import annotations

from dataclasses import dataclass

from service.contract.attempt import FailureClass
from service.contract.trial import AttemptState
from service.domain.states import AttemptEvent, TrialEvent
from service.storage import tables
from service.storage.queries import leases, studies, trials
from service.storage.unit_of_work import UnitOfWork
from service.usecases.attempts.outcome import stop_if_done
from service.usecases.context import Context
from service.usecases.deployment import ensure_deployment


@dataclass(frozen=True)
class Restored:
    """What a restore changed."""

    epoch: int
    num_lost: int
    """Attempts that were running; their trials wait for a worker again."""


async def begin_epoch(context: Context) -> Restored:
    """Invalidate every lease and nonce that was granted before.

    The database does not contain what workers have done since the backup, so no worker may go on as if it did. Running
    attempts are lost, without a penalty for trial or host, and attempts that could still be reattached get a new nonce.
    """
    epoch = await context.transact(None, _next_epoch)
    num_lost = 0
    for study_id in await context.database.read(studies.ids):
        num_lost += await context.transact(study_id, lambda unit_of_work: _invalidate_leases(unit_of_work, epoch))
    return Restored(epoch, num_lost)


def _next_epoch(unit_of_work: UnitOfWork) -> int:
    epoch = int(ensure_deployment(unit_of_work).epoch) + 1
    # A backup contains only the database: the next server uses the blob directory that was copied along, or a new one.
    unit_of_work.connection.execute(tables.deployment.update().values(epoch=epoch, blob_store_id=None))
    return epoch


def _invalidate_leases(unit_of_work: UnitOfWork, epoch: int) -> int:
    study_id = unit_of_work.study.id
    unit_of_work.record("restored", data={"epoch": epoch})
    for table in (tables.lease, tables.claim):
        unit_of_work.connection.execute(table.delete().where(table.c.study_id == study_id))
    num_lost = 0
    for attempt in leases.not_ended(unit_of_work.connection, study_id):
        if attempt.state == AttemptState.RUNNING:
            _lose(unit_of_work, attempt.trial_id, attempt.number)
            num_lost += 1
        unit_of_work.set_attempt(attempt.trial_id, attempt.number, nonce=unit_of_work.new_id())
    stop_if_done(unit_of_work)
    return num_lost


def _lose(unit_of_work: UnitOfWork, trial_id: str, number: int) -> None:
    trial = trials.by_id(unit_of_work.connection, trial_id)
    assert trial is not None
    reason, now = "the database was restored from a backup", unit_of_work.now()
    unit_of_work.advance_attempt(
        trial,
        number,
        AttemptEvent.LOST,
        reason=reason,
        # This does not count as a worker loss: three losses without progress would fail the trial as poison.
        failure=FailureClass.PREEMPTED,
        message=reason,
        ended_at=now,
    )
    if unit_of_work.study.stop_requested_at is not None:
        stopped = "the study was stopped"
        unit_of_work.advance_trial(trial, TrialEvent.CANCELLED, attempt=number, reason=stopped, finished_at=now)
    else:
        unit_of_work.advance_trial(trial, TrialEvent.REQUEUED, attempt=number, reason=reason)
