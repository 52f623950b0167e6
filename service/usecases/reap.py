"""Reap: attempts whose lease has run out are lost, and their trials wait for another worker."""

from __future__ import annotations

from functools import partial

from service.contract.lease import FailureClass, Outcome
from service.contract.trial import AttemptState
from service.storage import tables
from service.storage.instants import MICROSECONDS
from service.storage.queries import leases, studies, trials
from service.storage.tables import Row
from service.storage.unit_of_work import UnitOfWork
from service.usecases.context import Context
from service.usecases.deployment import ensure_deployment
from service.usecases.fence import Held
from service.usecases.isolation import StudyFault, for_each_study, transact_isolated
from service.usecases.settle import conclude, end_attempt, end_unjudged

_MISSED_ROUNDS = 3
"""After this many rounds of silence the service itself was away, and leases get the silence back."""


async def reap(context: Context) -> int:
    """Look through the leases once; returns how many attempts were lost."""
    overdue = await context.transact(None, lambda unit_of_work: _look(unit_of_work, context))
    return await for_each_study(
        context, "reaping", [(lease.study_id, partial(_reap_one, context, lease)) for lease in overdue]
    )


async def _reap_one(context: Context, lease: Row) -> int:
    num_lost = await transact_isolated(context, lease.study_id, "reaping", partial(_lose, seen=lease))
    await conclude(context, lease.study_id)
    return num_lost


def _look(unit_of_work: UnitOfWork, context: Context) -> list[Row]:
    """Expired leases; none, but longer ones, where workers could not renew because nobody was here to answer."""
    now, seen_at = unit_of_work.now(), leases.reaper_seen_at(unit_of_work.connection)
    _note_round(unit_of_work, now)
    silence = now - seen_at if seen_at is not None else 0
    if silence > _MISSED_ROUNDS * context.limits.reaper_seconds * MICROSECONDS:
        lease = tables.lease
        unit_of_work.connection.execute(lease.update().values(expires_at=lease.c.expires_at + silence))
        return []
    return list(leases.expired(unit_of_work.connection, now))


def _note_round(unit_of_work: UnitOfWork, now: int) -> None:
    """Remember when leases were last looked through; the first round ever begins the deployment's row."""
    table = tables.deployment
    if unit_of_work.connection.execute(table.update().values(reaper_seen_at=now)).rowcount == 0:
        ensure_deployment(unit_of_work)
        unit_of_work.connection.execute(table.update().values(reaper_seen_at=now))


def _lose(unit_of_work: UnitOfWork, fault: StudyFault | None, seen: Row) -> int:
    """Loss, requeue, budget and journal in one transaction, if under the lock the lease is as it was seen.

    One that was renewed since the look may have run out again while nobody was here to answer: the next look says.
    """
    lease = leases.lock(unit_of_work.connection, seen.trial_id, seen.attempt)
    trial = trials.by_id(unit_of_work.connection, seen.trial_id)
    attempt = trials.attempt_of(unit_of_work.connection, seen.trial_id, seen.attempt)
    if lease is None or trial is None or attempt is None or attempt.state != AttemptState.RUNNING:
        return 0
    if lease.expires_at != seen.expires_at:
        return 0
    silence = (unit_of_work.now() - lease.renewed_at) / MICROSECONDS
    outcome = Outcome(
        result="failed",
        failure=FailureClass.WORKER_LOST,
        message=f"worker {lease.worker} was silent for {silence:.0f} s",
    )
    if fault is not None:
        end_unjudged(unit_of_work, Held(trial, attempt), outcome, fault.reason)
        return 1
    spec = studies.spec(unit_of_work.connection, unit_of_work.study.id, unit_of_work.study.spec_version)
    end_attempt(unit_of_work, spec, Held(trial, attempt), outcome)
    return 1
