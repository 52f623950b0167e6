"""Studies: check a spec, create a study, list and show studies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from service.analysis.standing import standing
from service.contract.catalogue import Catalogue
from service.contract.mistakes import MAX_MISTAKES, nearest, quote
from service.contract.problem import ErrorCode, FieldError
from service.contract.sampler import CoarseToFineSampler
from service.contract.study import EventList, Resource, StudyList, StudySpec, StudyState, StudyView
from service.domain.command import check_command
from service.domain.configuration import check_overrides, check_reach, check_task
from service.domain.errors import DomainError
from service.domain.metric_names import check_fit, check_metrics
from service.domain.objective import check_objectives
from service.domain.space import check_space
from service.domain.states import STUDY
from service.search import decide
from service.storage import tables
from service.storage.damage import split_damaged
from service.storage.queries import exclusions, journal, studies, views
from service.storage.tables import Connection, Row
from service.storage.unit_of_work import UnitOfWork
from service.usecases.context import Context
from service.usecases.entries import known_catalogue
from service.usecases.suitability import unserved
from service.usecases.teachers import freeze
from service.usecases.warm_start import Lessons, find_lessons, store_lessons


def find(connection: Connection, name_or_id: str) -> Row:
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


def check(catalogue: Catalogue, spec: StudySpec) -> StudySpec:
    """Check a whole spec, including its task against the catalogue, and fill in what follows from the task.

    Raises:
        DomainError: The spec is invalid; all errors are listed.
    """
    errors = [*check_space(spec.space), *check_objectives(spec)]
    if spec.task is not None and spec.task.train is not None:
        errors += check_task(spec.task.train, spec.space, catalogue)
        errors += check_reach(spec.task.train, spec.space, catalogue)
        errors += [*check_fit(spec, catalogue), *check_metrics(spec, catalogue)]
        errors += _override_errors(catalogue, spec, spec.task.train)
        spec, resource_errors = _with_resource(catalogue, spec, spec.task.train.get("epochs"))
        errors += resource_errors
    else:
        errors += _meaningless(spec)
    if spec.task is not None and spec.task.command is not None:
        errors += islice(check_command(spec.task.command, spec.space), MAX_MISTAKES)
    if not errors:
        errors += decide.check_strategy(spec)
    if errors:
        first = errors[0]
        # Each check stops at MAX_MISTAKES errors, so the total is unknown in that case.
        number = "" if len(errors) >= MAX_MISTAKES else f"{len(errors) - 1} "
        more = f" (and {number}more)" if len(errors) > 1 else ""
        raise DomainError(ErrorCode.INVALID_SPEC, f"{first.path}: {first.message}{more}", errors[:MAX_MISTAKES])
    return spec


def _meaningless(spec: StudySpec) -> Iterator[FieldError]:
    """Yield errors for settings that only the training core supports, in a study with another task."""
    if spec.constraints is not None:
        message = "count the parameters of the training core's models, and this task is another; leave them out"
        yield FieldError(path="constraints", message=message)
    stages = spec.sampler.stages if isinstance(spec.sampler, CoarseToFineSampler) else None
    for at, stage in enumerate(stages or []):
        if stage.overrides:
            message = "set the training core, and this task gets the space's parameters alone; leave them out"
            yield FieldError(path=f"sampler.stages.{at}.overrides", message=message)


def _override_errors(catalogue: Catalogue, spec: StudySpec, train: Mapping[str, Any]) -> list[FieldError]:
    stages = spec.sampler.stages if isinstance(spec.sampler, CoarseToFineSampler) else None
    return [
        FieldError(path=f"sampler.stages.{at}.{error.path}", message=error.message)
        for at, stage in enumerate(stages or [])
        for error in check_overrides(train, spec.space, stage.overrides, catalogue)
    ]


def _with_resource(catalogue: Catalogue, spec: StudySpec, epochs: object) -> tuple[StudySpec, list[FieldError]]:
    """Set the resource of a train task to its epochs, or check that it equals them."""
    if "epochs" in spec.space:
        return spec, []
    horizon = epochs if isinstance(epochs, int) else catalogue.settings["epochs"].default
    if spec.resource is None:
        return spec.model_copy(update={"resource": Resource(name="epoch", max=horizon)}), []
    if spec.resource.name == "epoch" and spec.resource.max == horizon:
        return spec, []
    message = (
        f"is {spec.resource.max} {spec.resource.name}s, but the task trains {horizon} epochs (task.train.epochs); "
        "make them equal, or leave resource out"
    )
    return spec, [FieldError(path="resource.max", message=message)]


async def check_study(context: Context, given: StudySpec) -> tuple[StudySpec, Lessons | None]:
    """Check the spec of a new study, including the teachers and the studies for a warm start that it names.

    Raises:
        DomainError: The spec is invalid.
    """
    # Run in a thread: the cost grows with the spec, which may be large.
    spec = await asyncio.to_thread(check, await known_catalogue(context), given)

    def read(connection: Connection) -> tuple[StudySpec, Lessons | None]:
        return freeze(context, connection, spec), find_lessons(connection, spec)

    return await context.database.read(read)


async def create_study(context: Context, given: StudySpec) -> StudyView:
    """Check the spec and create the study.

    Raises:
        DomainError: The spec is invalid, or the project has a study with this name.
    """
    spec, lessons = await check_study(context, given)
    study_id = context.new_id()

    def work(unit_of_work: UnitOfWork) -> StudyView:
        if studies.find(unit_of_work.connection, f"{spec.project}/{spec.name}") is not None:
            raise DomainError(
                ErrorCode.STUDY_EXISTS,
                f"there is already a study {spec.name!r} in project {spec.project!r}; choose another name",
            )
        unit_of_work.begin_study(
            id=study_id,
            project=spec.project,
            name=spec.name,
            state=STUDY.initial,
            owner=spec.owner,
            priority=spec.priority,
            spec_version=1,
            next_number=0,
        )
        store_spec(unit_of_work, study_id, 1, spec)
        unit_of_work.record("study_created", data={"name": spec.name})
        if lessons is not None:
            store_lessons(unit_of_work, lessons)
        return view_of(unit_of_work, context, study_id)

    return await context.transact(None, work)


def store_spec(unit_of_work: UnitOfWork, study_id: str, version: int, spec: StudySpec) -> None:
    """Store a version of the study's spec; the study's `spec_version` says which one is in force."""
    unit_of_work.insert(
        tables.study_spec,
        study_id=study_id,
        version=version,
        spec=spec.model_dump(mode="json", exclude_none=True),
        created_at=unit_of_work.now(),
        revision=unit_of_work.revision,
    )


def view_of(unit_of_work: UnitOfWork, context: Context, study_id: str) -> StudyView:
    """Return the view of a study as this transaction leaves it."""
    connection = unit_of_work.connection
    return _complete(context.views.within(connection, studies.by_id(connection, study_id), unit_of_work.now()))


def _complete(view: StudyView) -> StudyView:
    """Add computed fields to a view: the planned number of trials, and how the best trial compares to the reference."""
    spec, said = view.spec, None
    if view.best is not None and view.best.values and spec.reference is not None:
        said = standing(view.best.values[0], spec.reference, spec.watched.direction)
    return view.model_copy(update={"budget_trials": decide.num_planned(spec), "standing": said})


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
        row, now = find(connection, name), context.database.dialect.now(connection)
        view = _complete(context.views.latest(connection, row, now))
        if row.state != StudyState.ACTIVE:
            return view
        excluded = [views.host_exclusion(each) for each in exclusions.of_study(connection, row.id)]
        lacked = unserved(connection, context, view.spec, excluded, now)
        return view.model_copy(update={"unserved": lacked, "exclusions": excluded})

    return await context.database.read_for_viewer(read)


async def find_study_id(context: Context, name: str) -> str:
    """Return the id of the study with this name or id.

    Raises:
        DomainError: There is no such study.
    """
    study_id: str = (await context.database.read_for_viewer(lambda connection: find(connection, name))).id
    return study_id


async def list_events(context: Context, name: str, after: int, limit: int, kind: str | None = None) -> EventList:
    """Return the study's journal after a revision, for one kind of event or for all."""

    def read(connection: Connection) -> EventList:
        study = find(connection, name)
        return views.events(journal.after(connection, study.id, after, limit, kind))

    return await context.database.read_for_viewer(read)


async def list_revisions(context: Context) -> dict[str, tuple[int, str]]:
    """Return the revision and state of each study by its id; the event stream polls this."""
    return await context.database.read_for_viewer(studies.revisions)
