"""Host quarantine: two faults in a row on a host, while other hosts do well, exclude it until a user lifts it."""

from __future__ import annotations

from service.contract.lease import FailureClass
from service.contract.mistakes import did_you_mean, quote
from service.contract.problem import ErrorCode
from service.contract.worker import WorkerView
from service.domain.errors import DomainError
from service.storage import tables
from service.storage.queries import attempts, leases, views
from service.storage.unit_of_work import UnitOfWork
from service.usecases.context import Context


def judge_host(unit_of_work: UnitOfWork, host: str, message: str) -> bool:
    """Record a fault of this host; return whether the fault belongs to the study, because no other host does better.

    The first fault in a row decides nothing. At the second one, the host goes into quarantine if another host gets
    trials of this study to report. If no other host does, the fault belongs to the study. In that case only faults in a
    row within this study count: otherwise a host that trains other studies well in between would get the failing trials
    again and again.
    """
    connection, study_id = unit_of_work.connection, unit_of_work.study.id
    if not attempts.is_served_elsewhere(connection, study_id, host):
        return attempts.last_failure_on(connection, host, study_id) is FailureClass.HOST_FAULT
    if attempts.last_failure_on(connection, host) is not FailureClass.HOST_FAULT:
        return False
    reason = f"two host faults in a row on {host} while other hosts do well; the last: {message}"
    table = tables.worker
    at_fault = (table.c.host == host) | ((table.c.host == "") & (table.c.name == host))
    unit_of_work.connection.execute(
        table.update()
        .where(at_fault, table.c.quarantined_at.is_(None))
        .values(quarantined_at=unit_of_work.now(), quarantine_reason=reason)
    )
    unit_of_work.record("host_quarantined", data={"host": host, "reason": reason})
    return False


async def readmit(context: Context, name: str) -> WorkerView:
    """Lift the quarantine of a worker's host, so that its workers get trials again.

    Raises:
        DomainError: There is no such worker.
    """

    def work(unit_of_work: UnitOfWork) -> WorkerView:
        connection, table = unit_of_work.connection, tables.worker
        row = leases.worker_named(connection, name)
        if row is None:
            known = [worker.name for worker in leases.workers(connection)]
            hint = did_you_mean(name, known) if known else "no worker has been here yet"
            raise DomainError(ErrorCode.UNKNOWN_WORKER, f"there is no worker {quote(name)}; {hint}")
        same = (table.c.name == name) | ((table.c.host != "") & (table.c.host == row.host))
        connection.execute(table.update().where(same).values(quarantined_at=None, quarantine_reason=None))
        found = next(row for row in leases.workers(connection) if row.name == name)
        return views.worker_view(found, unit_of_work.now())

    return await context.transact(None, work)
