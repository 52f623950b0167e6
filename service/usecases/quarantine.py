"""Host faults: two in a row quarantine a host, or exclude it from one study, until a person readmits it."""

from __future__ import annotations

from service.contract.attempt import FailureClass, Outcome
from service.contract.problem import ErrorCode
from service.contract.validation_errors import did_you_mean, quote
from service.contract.worker import WorkerView
from service.domain.errors import DomainError
from service.storage import tables
from service.storage.queries import attempts, exclusions, leases, views
from service.storage.unit_of_work import UnitOfWork
from service.usecases.context import Context


def record_host_fault(unit_of_work: UnitOfWork, host: str, outcome: Outcome) -> bool:
    """Judge a host fault; return whether no other host does better, so that the fault is the study's own.

    The first fault in a row decides nothing. The second depends on whether another host gets this study's trials to
    report:

    - If another does, a fault that concerns all trials on the host puts the host in quarantine. A fault that concerns
      this study alone (a file that this host lacks) excludes the host from the study; it goes on with other studies.
      There a trial that runs on another host is enough, because a long first epoch reports late. Faults of each scope
      are counted apart, so that one study's missing file never helps to quarantine a host.
    - If none does, the fault is the study's. Then faults in a row are counted in this study alone, because a host that
      trains other studies well in between would get the trials back for ever.
    """
    connection, study_id = unit_of_work.connection, unit_of_work.study.id
    is_of_study = outcome.scope == "study"
    if not attempts.is_served_elsewhere(connection, study_id, host, or_begun=is_of_study):
        return attempts.last_failure_on(connection, host, study_id=study_id) is FailureClass.HOST_FAULT
    counted_in = study_id if is_of_study else None
    last = attempts.last_failure_on(connection, host, study_id=counted_in, scope=outcome.scope)
    if last is FailureClass.HOST_FAULT:
        give_no_more_trials = _exclude if is_of_study else _quarantine
        give_no_more_trials(unit_of_work, host, outcome.message)
    return False


def _quarantine(unit_of_work: UnitOfWork, host: str, message: str) -> None:
    """Give the host no more trials of any study."""
    reason = f"two host faults in a row on {host} while other hosts succeed; the last: {message}"
    table = tables.worker
    at_fault = (table.c.host == host) | ((table.c.host == "") & (table.c.name == host))
    unit_of_work.connection.execute(
        table.update()
        .where(at_fault, table.c.quarantined_at.is_(None))
        .values(quarantined_at=unit_of_work.now(), quarantine_reason=reason)
    )
    unit_of_work.record("host_quarantined", data={"host": host, "reason": reason})


def _exclude(unit_of_work: UnitOfWork, host: str, message: str) -> None:
    """Give the host no more trials of this study."""
    study = unit_of_work.study
    if study.id in exclusions.reasons_of_host(unit_of_work.connection, host):
        return  # attempts that ran there when it was excluded end later
    reason = f"two faults in a row on {host} in this study alone; the last: {message}"
    unit_of_work.insert(
        tables.study_host_exclusion, study_id=study.id, host=host, reason=reason, excluded_at=unit_of_work.now()
    )
    unit_of_work.record("host_excluded", data={"host": host, "reason": reason})


def lift_exclusions(unit_of_work: UnitOfWork) -> None:
    """Give every host trials of this study again; the quarantine of a host stays."""
    table = tables.study_host_exclusion
    unit_of_work.connection.execute(table.delete().where(table.c.study_id == unit_of_work.study.id))


async def lift_quarantine(context: Context, name: str) -> WorkerView:
    """Lift the quarantine of a host and its exclusions from studies; its workers get trials again.

    Args:
        context: what use cases work with.
        name: a worker on the host, or the host itself.

    Returns:
        The worker of that name, or else the one of that host that was seen last.

    Raises:
        DomainError: there is no such worker and no such host.
    """

    def work(unit_of_work: UnitOfWork) -> WorkerView:
        connection, table = unit_of_work.connection, tables.worker
        workers = leases.workers(connection)
        named = [each for each in workers if each.name == name] or [each for each in workers if each.host == name]
        if not named:
            known = sorted({word for worker in workers for word in (worker.name, worker.host) if word})
            hint = did_you_mean(name, known) if known else "no worker has contacted the service yet"
            raise DomainError(ErrorCode.UNKNOWN_WORKER, f"there is no worker {quote(name)}; {hint}")
        hosts = {name, named[0].host} - {""}
        at_once = (table.c.name == name) | table.c.host.in_(hosts)
        connection.execute(table.update().where(at_once).values(quarantined_at=None, quarantine_reason=None))
        exclusion = tables.study_host_exclusion
        connection.execute(exclusion.delete().where(exclusion.c.host.in_(hosts)))
        found = next(each for each in leases.workers(connection) if each.name == named[0].name)
        return views.worker_view(found, unit_of_work.now())

    return await context.transact(None, work)
