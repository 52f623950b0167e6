"""Worker eligibility: what a worker lacks for a study, and why no live worker can get trials of it."""

from __future__ import annotations

from collections.abc import Collection

from service.contract.base import TaskKind
from service.contract.capabilities import Capabilities
from service.contract.study import StudySpec
from service.contract.worker import HostExclusion
from service.domain.entries import Key, custom_entries_of, missing_entries
from service.domain.errors import DamagedRowError
from service.domain.placement import disallowed_task, unmet_requirement
from service.storage.damage import reading
from service.storage.queries import entries, leases
from service.storage.queries.views import ALIVE_SECONDS
from service.storage.tables import Connection
from service.storage.timestamps import MICROSECONDS
from service.usecases.context import Context


def ineligibility(connection: Connection, context: Context, spec: StudySpec, capabilities: Capabilities) -> str | None:
    """Return what a worker lacks for the trials of a study, or None."""
    return (
        disallowed_task(spec.task_kind, capabilities, spec.task.function if spec.task else None)
        or unmet_requirement(spec.requires, capabilities)
        or missing_entries_of(connection, custom_entries_of(spec, context.catalogue), capabilities)
    )


def missing_entries_of(connection: Connection, own: Collection[Key], capabilities: Capabilities) -> str | None:
    """Return which of these custom entries a worker lacks, or has with other options than registered; or None."""
    if not own:
        return None
    known = {(row.section, row.name): row.fingerprint for row in entries.named(connection, own)}
    return missing_entries({key: known.get(key) for key in own}, capabilities.entries)


def exclusion_reason(host: str, reason: str) -> str:
    """Return why a host that is excluded from a study gets no trials of it, and how it gets them again."""
    return f"the host {host} is excluded from this study: {reason}; repair it, then: study readmit {host}"


def no_worker_reason(
    connection: Connection, context: Context, spec: StudySpec, excluded: Collection[HostExclusion], now: int
) -> str | None:
    """Return why none of the workers that are alive gets trials of a study; None: one does, or none is there to ask.

    Args:
        connection: an open connection.
        context: what use cases work with.
        spec: the study's spec in force.
        excluded: the hosts that are excluded from the study.
        now: the database's clock in microseconds.
    """
    if spec.task_kind is TaskKind.EXTERNAL:
        return None
    reason, reasons = None, {each.host: each.reason for each in excluded}
    for row in leases.workers(connection):
        if row.last_seen_at < now - ALIVE_SECONDS * MICROSECONDS:
            continue
        host = row.host or row.name
        if row.quarantined_at is not None:
            why = f"the host {host} is quarantined: {row.quarantine_reason}; repair it, then: study readmit {host}"
            reason = reason or why
            continue
        if host in reasons:
            reason = reason or exclusion_reason(host, reasons[host])
            continue
        try:
            with reading(f"worker {row.name}", row):
                worker = Capabilities.model_validate(row.capabilities)
        except DamagedRowError:
            continue
        for devices in worker.slots.values() or [worker.devices]:
            lacked = ineligibility(connection, context, spec, worker.model_copy(update={"devices": devices}))
            if lacked is None:
                return None
            reason = reason or lacked
    return reason
