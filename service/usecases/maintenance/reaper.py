"""Reaper: marks attempts with an expired lease as lost, so that their trials wait for another worker.

It also measures for how long the service was down, and extends all leases by that time.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial

from service.contract.attempt import FailureClass, Outcome
from service.storage import tables
from service.storage.queries import leases, studies, trials
from service.storage.tables import Row
from service.storage.timestamps import MICROSECONDS
from service.storage.unit_of_work import UnitOfWork
from service.usecases.attempts.outcome import complete_if_done, end_attempt, end_attempt_unjudged
from service.usecases.context import Context
from service.usecases.deployment import ensure_deployment
from service.usecases.fencing import FencedAttempt
from service.usecases.isolation import StudyFault, for_each_study, transact_isolated
from service.usecases.maintenance.clock_correction import correct_clock

_MISSED_ROUNDS = 3
"""After this many missed rounds the service itself was down, and it extends all leases by that time."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExpiredLeases:
    """Result of one round."""

    expired: list[Row]
    """Leases that have expired."""
    ahead_seconds: float = 0.0
    """How far in the future the last round lies: the database's clock was ahead and was set back. 0: it was not."""


async def credit_downtime(context: Context) -> list[Row]:
    """Extend all leases if the service was down since the last call; return the leases that have expired.

    The service must call this often and from a loop that does nothing else. Then a call is late only if heartbeats are
    late as well. Were it called by `reap` alone, rounds that take long because many attempts are lost would pass for
    downtimes, and the leases of workers that are gone would never expire.
    """
    found = await context.transact(None, lambda unit_of_work: _find_expired(unit_of_work, context))
    if found.ahead_seconds:
        await correct_clock(context, found.ahead_seconds)
        found = await context.transact(None, lambda unit_of_work: _find_expired(unit_of_work, context))
    return found.expired


async def reap(context: Context) -> int:
    """Check all leases once; return how many attempts were lost."""
    expired = await credit_downtime(context)
    return await for_each_study(
        context, "reaping", [(lease.study_id, partial(_reap_one, context, lease)) for lease in expired]
    )


async def _reap_one(context: Context, lease: Row) -> int:
    num_lost = await transact_isolated(context, lease.study_id, "reaping", partial(_lose_attempt, seen=lease))
    await complete_if_done(context, lease.study_id)
    return num_lost


def _find_expired(unit_of_work: UnitOfWork, context: Context) -> ExpiredLeases:
    """Find the expired leases.

    After a downtime of the service there are none: workers could not renew, so all leases are extended instead.
    """
    now, seen_at = unit_of_work.now(), leases.reaper_seen_at(unit_of_work.connection)
    silence = now - seen_at if seen_at is not None else 0
    round_length = int(context.limits.reaper_seconds * MICROSECONDS)
    # Another replica may have recorded its round after this transaction read the clock.
    if silence < -round_length:
        return ExpiredLeases([], ahead_seconds=-silence / MICROSECONDS)
    _note_round(unit_of_work, now)
    is_back = silence > _MISSED_ROUNDS * round_length
    if is_back:
        lease = tables.lease
        unit_of_work.connection.execute(lease.update().values(expires_at=lease.c.expires_at + silence))
    _shorten(unit_of_work, context, now, slack=round_length)
    return ExpiredLeases([] if is_back else list(leases.expired(unit_of_work.connection, now)))


def _shorten(unit_of_work: UnitOfWork, context: Context, now: int, slack: int) -> None:
    """Shorten every lease to at most its normal length from now, whatever the clock said when it was granted.

    The same holds for a lease that was renewed. The slack allows for a heartbeat that renewed a lease after this
    transaction read the clock.
    """
    longest = now + int(context.limits.lease_seconds * MICROSECONDS)
    table = tables.lease
    too_long = table.update().where(table.c.expires_at > longest + slack).values(expires_at=longest)
    num_shortened = unit_of_work.connection.execute(too_long).rowcount
    if num_shortened:
        log.warning(
            "%d leases ended later than in %g s and were shortened", num_shortened, context.limits.lease_seconds
        )


def _note_round(unit_of_work: UnitOfWork, now: int) -> None:
    """Record the time of this round; the first round ever creates the deployment's row."""
    table = tables.deployment
    if unit_of_work.connection.execute(table.update().values(reaper_seen_at=now)).rowcount == 0:
        ensure_deployment(unit_of_work)
        unit_of_work.connection.execute(table.update().values(reaper_seen_at=now))


def _lose_attempt(unit_of_work: UnitOfWork, fault: StudyFault | None, seen: Row) -> int:
    """Record the loss of an attempt and its consequences in one transaction, if the lease has not changed since `seen`.

    A lease that was renewed since then may have expired again while the service was down: the next round decides about
    it.
    """
    lease = leases.lock(unit_of_work.connection, seen.trial_id, seen.attempt)
    # An attempt has a lease exactly while it is running.
    if lease is None:
        return 0
    if lease.expires_at != seen.expires_at:
        return 0
    trial = trials.by_id(unit_of_work.connection, seen.trial_id)
    attempt = trials.attempt_of(unit_of_work.connection, seen.trial_id, seen.attempt)
    assert trial is not None
    assert attempt is not None
    silence = (unit_of_work.now() - lease.renewed_at) / MICROSECONDS
    outcome = Outcome(
        result="failed",
        failure=FailureClass.WORKER_LOST,
        message=f"worker {lease.worker} was silent for {silence:.0f} s",
    )
    if fault is not None:
        end_attempt_unjudged(unit_of_work, FencedAttempt(trial, attempt), outcome, fault.reason)
        return 1
    spec = studies.spec(unit_of_work.connection, unit_of_work.study.id, unit_of_work.study.spec_version)
    end_attempt(unit_of_work, spec, FencedAttempt(trial, attempt), outcome)
    return 1
