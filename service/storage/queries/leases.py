"""Queries for claims, leases and workers: what was granted to which worker, and until when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from service.contract.trial import AttemptState
from service.storage.queries.exclusions import HOST_OF_WORKER, hosts_of
from service.storage.tables import attempt, claim, lease, trial, worker
from service.storage.tables import deployment as deployment_table

# Statements that every claim, heartbeat and maintenance round runs are built once, because building costs more than
# executing.
_CLAIM = sa.select(claim).where(claim.c.request_id == sa.bindparam("request"))
_WORKER = sa.select(worker).where(worker.c.name == sa.bindparam("name"))
_OF_ATTEMPT = sa.select(lease).where(
    lease.c.trial_id == sa.bindparam("trial"), lease.c.attempt == sa.bindparam("attempt")
)
_LOCKED = _OF_ATTEMPT.with_for_update(skip_locked=True)
_HELD = (
    sa.select(attempt.c.study_id, attempt.c.state, attempt.c.nonce, trial.c.num_attempts)
    .join(trial, trial.c.id == attempt.c.trial_id)
    .where(attempt.c.trial_id == sa.bindparam("trial"), attempt.c.number == sa.bindparam("attempt"))
)
_EXPIRED = sa.select(lease).where(lease.c.expires_at < sa.bindparam("now")).order_by(lease.c.expires_at)
_DEPLOYMENT = sa.select(deployment_table)


def claimed(connection: sa.Connection, request_id: str) -> sa.Row[Any] | None:
    """Return what a claim request was granted before: study_id, trial_id, attempt."""
    return connection.execute(_CLAIM, {"request": request_id}).one_or_none()


def of_attempt(connection: sa.Connection, trial_id: str, number: int) -> sa.Row[Any] | None:
    """Return the lease on an attempt, or None if there is none."""
    return connection.execute(_OF_ATTEMPT, {"trial": trial_id, "attempt": number}).one_or_none()


def lock(connection: sa.Connection, trial_id: str, number: int) -> sa.Row[Any] | None:
    """Lock a lease against heartbeats until the transaction ends; None: there is none, or one is renewing it."""
    return connection.execute(_LOCKED, {"trial": trial_id, "attempt": number}).one_or_none()


def held(connection: sa.Connection, trial_id: str, number: int) -> sa.Row[Any, Any, Any, Any] | None:
    """Return what a heartbeat needs of an attempt: its study, state and nonce, and its trial's newest attempt."""
    return connection.execute(_HELD, {"trial": trial_id, "attempt": number}).one_or_none()


def not_ended(connection: sa.Connection, study_id: str) -> Sequence[sa.Row[Any]]:
    """Return the attempts of a study that are running, or that were lost and may be reattached."""
    states = (AttemptState.RUNNING, AttemptState.LOST)
    query = sa.select(attempt).where(attempt.c.study_id == study_id, attempt.c.state.in_(states))
    return connection.execute(query.order_by(attempt.c.trial_id, attempt.c.number)).all()


def expired(connection: sa.Connection, now: int) -> Sequence[sa.Row[Any]]:
    """Return the leases whose deadline has passed, oldest first."""
    return connection.execute(_EXPIRED, {"now": now}).all()


def reaper_seen_at(connection: sa.Connection) -> int | None:
    """Return when the reaper last checked all leases, or the deployment began; None: there is no deployment."""
    row = deployment(connection)
    return (row.reaper_seen_at or row.created_at) if row is not None else None


def deployment(connection: sa.Connection) -> sa.Row[Any] | None:
    """Return the row of this installation, or None if it does not exist yet."""
    return connection.execute(_DEPLOYMENT).one_or_none()


def worker_named(connection: sa.Connection, name: str) -> sa.Row[Any] | None:
    """Return the worker with this name, or None."""
    return connection.execute(_WORKER, {"name": name}).one_or_none()


def workers(connection: sa.Connection) -> Sequence[sa.Row[Any]]:
    """Return all workers with the number of leases of each, most recently seen first."""
    num_leases = sa.select(sa.func.count()).where(lease.c.worker == worker.c.name).scalar_subquery()
    query = sa.select(worker, num_leases.label("num_leases")).order_by(worker.c.last_seen_at.desc(), worker.c.name)
    return connection.execute(query).all()


def has_room(connection: sa.Connection, host: str, since: int) -> bool:
    """Return whether a worker on this host has an idle slot; it must be seen after `since` and not in quarantine."""
    for row in workers(connection):
        is_there = (row.host or row.name) == host and row.last_seen_at >= since and row.quarantined_at is None
        if is_there and row.num_leases < max(1, len(_mapping(row.capabilities).get("slots", {}))):
            return True
    return False


def directories(connection: sa.Connection, since: int, study_id: str) -> set[str]:
    """Return the directories shared by workers that were seen after `since` and get trials of the study.

    Workers whose host is in quarantine or excluded from the study do not count.
    """
    is_served = worker.c.quarantined_at.is_(None) & HOST_OF_WORKER.not_in(hosts_of(study_id))
    query = sa.select(worker.c.capabilities).where(worker.c.last_seen_at >= since, is_served)
    return {
        directory
        for capabilities in connection.execute(query).scalars()
        for directory in _mapping(capabilities).get("directories") or []
    }


def _mapping(capabilities: object) -> dict[str, Any]:
    """Return a worker's stored capabilities; empty if they are damaged, until its next claim stores them again."""
    return capabilities if isinstance(capabilities, dict) else {}
