"""Find studies and answer questions about them."""

from __future__ import annotations

from service.analysis.reference_summary import ordered_references, reference_summary
from service.contract.problem import ErrorCode
from service.contract.study import EventList, StudyList, StudyState, StudyView
from service.contract.validation_errors import nearest, quote
from service.domain.errors import DomainError
from service.search import decide
from service.storage.damage import split_damaged
from service.storage.queries import exclusions, journal, studies, views
from service.storage.tables import Connection, Row
from service.storage.unit_of_work import UnitOfWork
from service.usecases import stored_findings
from service.usecases.context import Context
from service.usecases.eligibility import no_worker_reason

MAX_FINDINGS = 10
"""The largest number of findings in the view of a study. Its diagnosis has all of them."""


def find_study(connection: Connection, name_or_id: str) -> Row:
    """Return the study with this name or id.

    Raises:
        DomainError: There is no such study.
    """
    row = studies.find(connection, name_or_id)
    if row is None:
        known = studies.names(connection)
        hint = nearest(name_or_id, known) if known else "there are no studies yet"
        raise DomainError(ErrorCode.UNKNOWN_STUDY, f"there is no study {quote(name_or_id)}; {hint}")
    return row


def view_of(unit_of_work: UnitOfWork, context: Context, study_id: str) -> StudyView:
    """Return the view of a study as this transaction leaves it."""
    connection = unit_of_work.connection
    return _complete(context.views.within(connection, studies.by_id(connection, study_id), unit_of_work.now()))


def _complete(view: StudyView) -> StudyView:
    """Add computed fields to a view: the planned number of trials, and how the best trial compares to references."""
    spec, objective = view.spec, view.spec.primary_objective
    references = ordered_references(spec.reference, view.references)
    computed: dict[str, object] = {"budget_trials": decide.num_planned(spec), "references": references}
    if view.best is not None and view.best.values:
        computed["reference_summary"] = reference_summary(view.best.values[0], references, objective.direction)
    return view.model_copy(update=computed)


def _with_findings(connection: Connection, context: Context, view: StudyView) -> StudyView:
    """Add the gravest stored findings about a study to its view."""
    stored = stored_findings.of_study(connection, context, view.id)
    if stored is None:
        return view
    return view.model_copy(update={"findings": list(stored.findings[:MAX_FINDINGS])})


async def list_studies(context: Context) -> StudyList:
    """Return all studies, newest first."""

    def read(connection: Connection) -> StudyList:
        rows, now = studies.all_of(connection), context.database.dialect.now(connection)
        found, damaged = split_damaged(
            rows, lambda row: _complete(context.views.latest(connection, row, now)), lambda row: row.name
        )
        return StudyList(studies=found, damaged=damaged)

    return await context.database.read_for_viewer(read)


async def get_study(context: Context, name: str) -> StudyView:
    """Return one study, with the hosts excluded from it and the reason if no worker can get trials of it."""

    def read(connection: Connection) -> StudyView:
        row, now = find_study(connection, name), context.database.dialect.now(connection)
        view = _with_findings(connection, context, _complete(context.views.latest(connection, row, now)))
        if row.state != StudyState.ACTIVE:
            return view
        excluded = [views.host_exclusion(each) for each in exclusions.of_study(connection, row.id)]
        lacked = no_worker_reason(connection, context, view.spec, excluded, now)
        return view.model_copy(update={"no_worker_reason": lacked, "exclusions": excluded})

    return await context.database.read_for_viewer(read)


async def find_study_id(context: Context, name: str) -> str:
    """Return the id of the study with this name or id.

    Raises:
        DomainError: There is no such study.
    """
    study_id: str = (await context.database.read_for_viewer(lambda connection: find_study(connection, name))).id
    return study_id


async def list_events(context: Context, name: str, after: int, limit: int, kind: str | None = None) -> EventList:
    """Return the study's journal after a revision, for one kind of event or for all."""

    def read(connection: Connection) -> EventList:
        study = find_study(connection, name)
        return views.events(journal.after(connection, study.id, after, limit, kind))

    return await context.database.read_for_viewer(read)


async def list_revisions(context: Context) -> dict[str, tuple[int, str]]:
    """Return the revision and state of each study by its id; the event stream polls this."""
    return await context.database.read_for_viewer(studies.revisions)
