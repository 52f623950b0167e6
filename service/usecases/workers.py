"""Workers: recorded with claims and heartbeats, and listed for users."""

from __future__ import annotations

from itertools import chain
from typing import Any

from service.contract.claim import ClaimRequest
from service.contract.worker import WorkerList
from service.storage import tables
from service.storage.queries import leases, views
from service.storage.tables import Connection
from service.storage.timestamps import MICROSECONDS
from service.storage.unit_of_work import UnitOfWork
from service.usecases.context import Context


def seen_recently(connection: Connection, context: Context, request: ClaimRequest) -> bool:
    """Return whether the worker was seen recently with the same capabilities; if so, a claim skips recording it."""
    row = leases.worker_named(connection, request.worker)
    if row is None or row.capabilities != _facts(request)["capabilities"]:
        return False
    silence = context.database.dialect.now(connection) - row.last_seen_at
    return bool(silence < context.limits.heartbeat_seconds / 2 * MICROSECONDS)


def upsert_worker(unit_of_work: UnitOfWork, request: ClaimRequest) -> None:
    """Record that a worker is alive, and what it can execute."""
    now = unit_of_work.now()
    facts = {**_facts(request), "last_seen_at": now}
    table = tables.worker
    updated = unit_of_work.connection.execute(table.update().where(table.c.name == request.worker).values(**facts))
    if updated.rowcount == 0:
        unit_of_work.insert(table, name=request.worker, first_seen_at=now, **facts)


def _facts(request: ClaimRequest) -> dict[str, Any]:
    capabilities = request.capabilities
    # A worker's devices are those of all its slots: each slot sends its own claims with its own devices.
    devices = dict.fromkeys(chain.from_iterable(capabilities.slots.values() or [capabilities.devices]))
    whole = capabilities.model_copy(update={"devices": list(devices)})
    return {
        "host": request.host,
        "capabilities": whole.model_dump(mode="json"),
        "protocol": request.protocol,
    }


async def list_workers(context: Context) -> WorkerList:
    """Return all workers, most recently seen first."""
    now = context.database.dialect.now
    return await context.database.read_for_viewer(lambda connection: views.workers(connection, now(connection)))
