"""Heartbeats: one request per worker host renews all its leases and returns an order for each."""

from __future__ import annotations

from service.contract.attempt import HeartbeatReply, HeartbeatRequest, HeldLease, LeaseStatus
from service.contract.report import Action
from service.domain.errors import DomainError
from service.storage import tables
from service.storage.queries import leases, series, studies
from service.storage.timestamps import MICROSECONDS
from service.storage.unit_of_work import UnitOfWork
from service.usecases.context import Context
from service.usecases.fencing import ensure_attached, find_attempt


async def heartbeat(context: Context, request: HeartbeatRequest) -> HeartbeatReply:
    """Renew every lease that the worker still holds, and return for each what to do."""
    statuses = await context.transact(None, lambda unit_of_work: _renew_all(unit_of_work, context, request))
    answered = []
    for lease, status in zip(request.leases, statuses, strict=True):
        answered.append(status or await _reattach(context, lease))
    return HeartbeatReply(leases=answered, heartbeat_seconds=context.limits.heartbeat_seconds)


def _renew_all(unit_of_work: UnitOfWork, context: Context, request: HeartbeatRequest) -> list[LeaseStatus | None]:
    table = tables.worker
    seen = table.update().where(table.c.name == request.worker).values(last_seen_at=unit_of_work.now())
    unit_of_work.connection.execute(seen)
    # All heartbeats use the same order, so that no two of them wait for each other.
    ordered = sorted(request.leases, key=lambda lease: (lease.trial, lease.attempt))
    statuses = {lease: _renew(unit_of_work, context, lease) for lease in ordered}
    return [statuses[lease] for lease in request.leases]


def _renew(unit_of_work: UnitOfWork, context: Context, lease: HeldLease) -> LeaseStatus | None:
    """Renew a lease and return its status; None: there is no lease, and only a transaction on the study can say why."""
    known = leases.held(unit_of_work.connection, lease.trial, lease.attempt)
    if known is None or known.nonce != lease.nonce or known.num_attempts != lease.attempt:
        return _superseded(lease, "another attempt holds the lease; drop the trial")
    table, now = tables.lease, unit_of_work.now()
    renewed = unit_of_work.connection.execute(
        table.update()
        .where(table.c.trial_id == lease.trial, table.c.attempt == lease.attempt)
        .values(renewed_at=now, expires_at=now + int(context.limits.lease_seconds * MICROSECONDS))
    )
    if renewed.rowcount == 0:
        return None
    return _renewed(unit_of_work, context, lease, known.study_id)


def _renewed(unit_of_work: UnitOfWork, context: Context, lease: HeldLease, study_id: str) -> LeaseStatus:
    order, reason = Action.CONTINUE, ""
    study = studies.by_id(unit_of_work.connection, study_id)
    verdict = series.last_verdict(unit_of_work.connection, lease.trial, lease.attempt)
    if study.stop_requested_at is not None:
        order, reason = Action.STOP, "the study was stopped"
    elif verdict is not None:
        order, reason = Action(verdict.action), verdict.reason
    return LeaseStatus(
        trial=lease.trial,
        attempt=lease.attempt,
        held=True,
        lease_seconds=context.limits.lease_seconds,
        order=order,
        reason=reason,
    )


def _superseded(lease: HeldLease, reason: str) -> LeaseStatus:
    return LeaseStatus(
        trial=lease.trial,
        attempt=lease.attempt,
        held=False,
        lease_seconds=None,
        order=Action.STOP,
        reason=reason,
    )


async def _reattach(context: Context, lease: HeldLease) -> LeaseStatus:
    """Reattach an attempt that was given up as lost, if no other attempt has begun."""

    def work(unit_of_work: UnitOfWork) -> LeaseStatus:
        fenced = find_attempt(unit_of_work, lease.trial, lease.attempt, lease.nonce)
        ensure_attached(unit_of_work, fenced, lease_seconds=context.limits.lease_seconds)
        return _renewed(unit_of_work, context, lease, unit_of_work.study.id)

    known = await context.database.read(lambda connection: leases.held(connection, lease.trial, lease.attempt))
    if known is None:
        return _superseded(lease, "the attempt does not exist any more; drop the trial")
    try:
        return await context.transact(known.study_id, work)
    except DomainError as error:
        return _superseded(lease, error.detail)
