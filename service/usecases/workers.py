"""Workers: seen with every claim and heartbeat, listed for people."""

from __future__ import annotations

from service.contract.lease import ClaimRequest
from service.contract.worker import WorkerList
from service.storage import tables
from service.storage.queries import views
from service.storage.unit_of_work import UnitOfWork
from service.usecases.context import Context


def see_worker(unit_of_work: UnitOfWork, request: ClaimRequest) -> None:
    """Note that a worker is alive, and what it can execute."""
    now = unit_of_work.now()
    facts = {
        "host": request.host,
        "capabilities": request.capabilities.model_dump(mode="json"),
        "protocol": request.protocol,
        "last_seen_at": now,
    }
    table = tables.worker
    updated = unit_of_work.connection.execute(table.update().where(table.c.name == request.worker).values(**facts))
    if updated.rowcount == 0:
        unit_of_work.insert(table, name=request.worker, first_seen_at=now, **facts)


async def list_workers(context: Context) -> WorkerList:
    """All workers, most recently seen first."""
    now = context.database.dialect.now
    return WorkerList(
        workers=await context.database.read(lambda connection: views.worker_views(connection, now(connection)))
    )
