"""Queries for ended attempts: of a trial, of a study, and per host."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from service.contract.attempt import FailureClass, FaultScope, MemoryShortage
from service.contract.capabilities import Device
from service.contract.trial import AttemptState, TrialKind, TrialState
from service.domain.circuit_breaker import AttemptEnd
from service.domain.failures import LOSSES, PastAttempt
from service.storage.queries.exclusions import HOST_OF_WORKER, hosts_of
from service.storage.tables import Row, attempt, checkpoint, journal, trial, worker
from service.storage.timestamps import MICROSECONDS

_BEGINNINGS = ("study_resumed", "study_extended")
_NO_END_OF_ITS_OWN = sorted({*LOSSES, FailureClass.HOST_FAULT, FailureClass.PREEMPTED})

_host = sa.case((worker.c.host != "", worker.c.host), else_=attempt.c.worker)
_with_worker = attempt.outerjoin(worker, worker.c.name == attempt.c.worker)

# Statements that every claim and finish runs are built once, because building costs more than executing.
_EXECUTIONS: sa.Select[Any] = (
    sa.select(
        attempt.c.trial_id,
        attempt.c.number,
        attempt.c.failure,
        attempt.c.last_step,
        attempt.c.outcome,
        _host.label("host"),
    )
    .select_from(_with_worker)
    .where(attempt.c.trial_id == sa.bindparam("trial"), attempt.c.ended_at.is_not(None))
    .order_by(attempt.c.number)
)
_FURTHEST = (
    sa.select(checkpoint.c.step, checkpoint.c.batch)
    .where(checkpoint.c.trial_id == sa.bindparam("trial"), checkpoint.c.attempt == sa.bindparam("attempt"))
    .order_by(checkpoint.c.step.desc(), checkpoint.c.batch.desc())
    .limit(1)
)
_EARLIER = _EXECUTIONS.where(attempt.c.number < sa.bindparam("before"))
_QUARANTINE = (
    sa.select(worker.c.quarantine_reason)
    .where(
        sa.or_(
            worker.c.name == sa.bindparam("worker"),
            sa.and_(worker.c.host != "", worker.c.host == sa.bindparam("host")),
        ),
        worker.c.quarantined_at.is_not(None),
    )
    .limit(1)
)


def host_of(connection: sa.Connection, worker_name: str) -> str:
    """Return the host that a worker runs on, or the worker's name if it sent no host."""
    host = connection.execute(sa.select(worker.c.host).where(worker.c.name == worker_name)).scalar_one_or_none()
    return host or worker_name


def past_attempts(connection: sa.Connection, trial_id: str, *, before: int | None = None) -> list[PastAttempt]:
    """Return the trial's ended attempts (only those with a number below `before`), oldest first."""
    if before is None:
        rows = connection.execute(_EXECUTIONS, {"trial": trial_id}).all()
    else:
        rows = connection.execute(_EARLIER, {"trial": trial_id, "before": before}).all()
    return [
        PastAttempt(
            failure=FailureClass(row.failure) if row.failure else None,
            host=row.host,
            progress=progress_of(connection, row),
            shortage=_shortage(row.outcome),
        )
        for row in rows
    ]


def progress_of(connection: sa.Connection, row: Row) -> tuple[int, int]:
    """Return the certain progress of an attempt: its last step, and the batches after it that a checkpoint holds."""
    found = connection.execute(_FURTHEST, {"trial": row.trial_id, "attempt": row.number}).one_or_none()
    saved = (0, 0) if found is None else (found.step, found.batch)
    return max((row.last_step or 0, 0), saved)


def _shortage(outcome: Any) -> MemoryShortage | None:
    found = (outcome or {}).get("shortage")
    return MemoryShortage.model_validate(found) if found else None


def ends(connection: sa.Connection, study_id: str, *, limit: int, newest: bool) -> list[AttemptEnd]:
    """Return the ends of `limit` attempts since the study began or was last resumed, from the oldest or newest on.

    Only attempts that ended by themselves count: not those released, cancelled, lost, preempted, or failed by a host
    fault. Attempts of preflights do not count.
    """
    begun = (
        sa.select(sa.func.coalesce(sa.func.max(journal.c.revision), 0))
        .where(journal.c.study_id == study_id, journal.c.kind.in_(_BEGINNINGS))
        .scalar_subquery()
    )
    order = (attempt.c.ended_at, attempt.c.revision)
    query = (
        sa.select(
            attempt.c.trial_id,
            attempt.c.state,
            attempt.c.failure,
            attempt.c.fingerprint,
            attempt.c.message,
            trial.c.state.label("trial_state"),
            trial.c.state_reason.label("trial_reason"),
        )
        .join(trial, trial.c.id == attempt.c.trial_id)
        .where(
            attempt.c.study_id == study_id,
            trial.c.kind != TrialKind.PREFLIGHT,
            attempt.c.ended_at.is_not(None),
            attempt.c.revision > begun,
            attempt.c.state.not_in((AttemptState.RELEASED, AttemptState.CANCELLED, AttemptState.LOST)),
            sa.or_(attempt.c.failure.is_(None), attempt.c.failure.not_in(_NO_END_OF_ITS_OWN)),
        )
        .order_by(*(column.desc() if newest else column for column in order))
        .limit(limit)
    )
    return [_ended(row) for row in connection.execute(query)]


def _ended(row: sa.Row[Any, Any, Any, Any, Any, Any, Any]) -> AttemptEnd:
    if row.state == AttemptState.SUCCEEDED and row.trial_state == TrialState.FAILED:
        return AttemptEnd(row.trial_id, None, message=row.trial_reason or "", lacks_objective=True)
    failure = FailureClass(row.failure) if row.failure else None
    return AttemptEnd(row.trial_id, failure, row.fingerprint, row.message or "")


def last_failure_on(
    connection: sa.Connection, host: str, *, study_id: str | None = None, scope: FaultScope | None = None
) -> FailureClass | None:
    """Return how the attempt that ended last on this host failed, or None if it did not.

    Args:
        connection: an open connection.
        host: the host, as `host_of` returns it.
        study_id: count the attempts of this study alone; None: of all studies.
        scope: skip host faults of the other scope; None: skip none.
    """
    query = (
        sa.select(attempt.c.failure)
        .select_from(_with_worker)
        .where(_host == host, attempt.c.ended_at.is_not(None))
        .order_by(attempt.c.ended_at.desc())
        .limit(1)
    )
    if study_id is not None:
        query = query.where(attempt.c.study_id == study_id)
    if scope is not None:
        is_host_fault = sa.func.coalesce(attempt.c.failure, "") == FailureClass.HOST_FAULT
        query = query.where(~is_host_fault | (sa.func.coalesce(attempt.c.fault_scope, "host") == scope))
    failure = connection.execute(query).scalar_one_or_none()
    return FailureClass(failure) if failure else None


def is_served_elsewhere(connection: sa.Connection, study_id: str, host: str, *, or_begun: bool = False) -> bool:
    """Return whether another host, which is not excluded from the study, gets its trials to report.

    `or_begun`: a running attempt there is enough, even if it has not reported yet.
    """
    does_well = attempt.c.num_reports > 0
    if or_begun:
        does_well |= attempt.c.state == AttemptState.RUNNING
    query = (
        sa.select(attempt.c.trial_id)
        .select_from(_with_worker)
        .where(attempt.c.study_id == study_id, _host != host, _host.not_in(hosts_of(study_id)), does_well)
        .limit(1)
    )
    return connection.execute(query).first() is not None


def quarantine_of(connection: sa.Connection, worker_name: str, host: str) -> str | None:
    """Return why this worker's host is in quarantine, or None if it is not."""
    return connection.execute(_QUARANTINE, {"worker": worker_name, "host": host}).scalar_one_or_none()


def largest_gpu_gib(connection: sa.Connection, since: int, study_id: str) -> float:
    """Return the memory of the largest GPU that a worker offered to the study after `since`; 0: there is none.

    Workers whose host was quarantined or excluded from the study before `since` do not count.
    """
    is_fit = sa.or_(worker.c.quarantined_at.is_(None), worker.c.quarantined_at >= since)
    is_served = HOST_OF_WORKER.not_in(hosts_of(study_id, before=since))
    query = sa.select(worker.c.capabilities).where(worker.c.last_seen_at >= since, is_fit, is_served)
    devices = [
        Device.model_validate(device)
        for capabilities in connection.execute(query).scalars()
        if isinstance(capabilities, dict)  # a damaged row offers nothing until the worker's next claim
        for device in capabilities.get("devices", [])
    ]
    return max((device.memory_gib or 0.0 for device in devices if device.kind == "cuda"), default=0.0)


def step_seconds(connection: sa.Connection, study_id: str, *, limit: int, is_whole: bool = False) -> list[float]:
    """Return the seconds per step of the study's newest attempts that ended normally, newest first.

    With `is_whole`, return instead the duration of each attempt that trained its trial from start to end.
    """
    if is_whole:
        query = (
            sa.select((attempt.c.ended_at - attempt.c.started_at).label("spent"))
            .where(
                attempt.c.study_id == study_id,
                attempt.c.state == AttemptState.SUCCEEDED,
                attempt.c.resume_step.is_(None),
            )
            .order_by(attempt.c.ended_at.desc())
            .limit(limit)
        )
        return [spent / MICROSECONDS for spent in connection.execute(query).scalars()]
    first = sa.func.coalesce(attempt.c.resume_step, 0)
    query = (
        sa.select(
            (attempt.c.ended_at - attempt.c.started_at).label("spent"), (attempt.c.last_step - first).label("num")
        )
        .where(
            attempt.c.study_id == study_id,
            attempt.c.state.in_([AttemptState.SUCCEEDED, AttemptState.PRUNED, AttemptState.PAUSED]),
            attempt.c.last_step > first,
        )
        .order_by(attempt.c.ended_at.desc())
        .limit(limit)
    )
    return [row.spent / MICROSECONDS / row.num for row in connection.execute(query)]
