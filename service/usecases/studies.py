"""Studies: create, look at, pause, resume, stop, extend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from service.analysis.standing import standing
from service.contract.mistakes import did_you_mean
from service.contract.problem import ErrorCode, FieldError
from service.contract.sampler import CoarseToFineSampler
from service.contract.study import Event, ExtendRequest, Resource, StudyList, StudySpec, StudyState, StudyView
from service.domain.configuration import check_overrides, check_reach, check_task
from service.domain.errors import DomainError
from service.domain.space import check_space
from service.domain.states import FINISHED_STUDIES, STUDY, StudyEvent
from service.search import decide
from service.storage import tables
from service.storage.queries import journal, studies, views
from service.storage.tables import Connection, Row
from service.storage.unit_of_work import UnitOfWork
from service.usecases.context import Context
from service.usecases.settle import cancel_unclaimed, conclude, settle_stop


def find(connection: Connection, name_or_id: str) -> Row:
    """The study of that name or id.

    Raises:
        DomainError: there is none.
    """
    row = studies.find(connection, name_or_id)
    if row is None:
        known = studies.names(connection)
        hint = did_you_mean(name_or_id, known) if known else "there are no studies yet"
        raise DomainError(ErrorCode.UNKNOWN_STUDY, f"there is no study {name_or_id!r}; {hint}")
    return row


def check(context: Context, spec: StudySpec) -> StudySpec:
    """Check a spec as a whole, and fill in what follows from the task.

    Raises:
        DomainError: something in it cannot work; all that is wrong is listed.
    """
    errors = check_space(spec.space)
    if spec.task is not None and spec.task.train is not None:
        errors += check_task(spec.task.train, spec.space, context.catalogue)
        errors += check_reach(spec.task.train, spec.space, context.catalogue)
        errors += _override_errors(context, spec, spec.task.train)
        spec, resource_errors = _with_resource(context, spec, spec.task.train.get("epochs"))
        errors += resource_errors
    if not errors:
        errors += decide.check_strategy(spec)
    if errors:
        first = errors[0]
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise DomainError(ErrorCode.INVALID_SPEC, f"{first.path}: {first.message}{more}", errors)
    return spec


def _override_errors(context: Context, spec: StudySpec, train: Mapping[str, Any]) -> list[FieldError]:
    stages = spec.sampler.stages if isinstance(spec.sampler, CoarseToFineSampler) else None
    return [
        FieldError(path=f"sampler.stages.{at}.{error.path}", message=error.message)
        for at, stage in enumerate(stages or [])
        for error in check_overrides(train, spec.space, stage.overrides, context.catalogue)
    ]


def _with_resource(context: Context, spec: StudySpec, epochs: object) -> tuple[StudySpec, list[FieldError]]:
    """A train task's resource is its epochs: taken from there, or equal to them."""
    if "epochs" in spec.space:
        return spec, []
    horizon = epochs if isinstance(epochs, int) else context.catalogue.settings["epochs"].default
    if spec.resource is None:
        return spec.model_copy(update={"resource": Resource(name="epoch", max=horizon)}), []
    if spec.resource.name == "epoch" and spec.resource.max == horizon:
        return spec, []
    message = (
        f"is {spec.resource.max} {spec.resource.name}s, but the task trains {horizon} epochs (task.train.epochs); "
        "make them equal, or leave resource out"
    )
    return spec, [FieldError(path="resource.max", message=message)]


async def create_study(context: Context, given: StudySpec) -> StudyView:
    """Check the spec and begin the study.

    Raises:
        DomainError: the spec cannot work, or the project has a study of that name.
    """
    spec = check(context, given)
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
        unit_of_work.insert(
            tables.study_spec,
            study_id=study_id,
            version=1,
            spec=spec.model_dump(mode="json", exclude_none=True),
            created_at=unit_of_work.now(),
            revision=unit_of_work.revision,
        )
        unit_of_work.record("study_created", data={"name": spec.name})
        return _view(unit_of_work.connection, find(unit_of_work.connection, study_id))

    return await context.transact(None, work)


def _view(connection: Connection, row: Row) -> StudyView:
    return _complete(views.study_views(connection, [row])[0])


def _complete(view: StudyView) -> StudyView:
    """Add what follows from the stored facts by rules: trials in all, and how the best one stands."""
    spec, said = view.spec, None
    if view.best is not None and view.best.values and spec.reference is not None:
        said = standing(view.best.values[0], spec.reference, spec.objective.direction)
    return view.model_copy(update={"budget_trials": decide.num_planned(spec), "standing": said})


async def list_studies(context: Context) -> StudyList:
    """All studies, newest first."""

    def read(connection: Connection) -> StudyList:
        found = views.study_views(connection, studies.all_of(connection))
        return StudyList(studies=[_complete(view) for view in found])

    return await context.database.read(read)


async def get_study(context: Context, name: str) -> StudyView:
    """One study."""
    return await context.database.read(lambda connection: _view(connection, find(connection, name)))


async def list_events(context: Context, name: str, after: int, limit: int) -> list[Event]:
    """The study's journal past a revision."""

    def read(connection: Connection) -> list[Event]:
        study = find(connection, name)
        return [views.event(row) for row in journal.after(connection, study.id, after, limit)]

    return await context.database.read(read)


async def list_revisions(context: Context) -> dict[str, tuple[int, str]]:
    """Study id -> revision and state: what a live stream watches."""
    return await context.database.read(studies.revisions)


async def pause_study(context: Context, name: str, reason: str) -> StudyView:
    """Hand out no more trials until resumed; running ones go on."""
    return await _change(context, name, lambda unit_of_work: _pause(unit_of_work, reason))


def _pause(unit_of_work: UnitOfWork, reason: str) -> None:
    _require(unit_of_work, StudyEvent.PAUSED)
    unit_of_work.advance_study(StudyEvent.PAUSED, reason=reason or "paused by a person", pause_cause="user")


async def resume_study(context: Context, name: str) -> StudyView:
    """Hand out trials again."""

    def work(unit_of_work: UnitOfWork) -> None:
        _require(unit_of_work, StudyEvent.RESUMED)
        unit_of_work.advance_study(StudyEvent.RESUMED, pause_cause=None)

    study = await _change(context, name, work)
    # Its last trials may have ended while it was paused.
    await conclude(context, study.id)
    return await get_study(context, study.id)


async def stop_study(context: Context, name: str, reason: str) -> StudyView:
    """End the search: what waits is cancelled, what runs is told to stop, and then the study is stopped."""

    def work(unit_of_work: UnitOfWork) -> None:
        study = unit_of_work.study
        if study.state in FINISHED_STUDIES or study.stop_requested_at is not None:
            return
        said = reason or "stopped by a person"
        unit_of_work.set_study(stop_requested_at=unit_of_work.now(), state_reason=said)
        unit_of_work.record("stop_requested", data={"reason": said})
        cancel_unclaimed(unit_of_work, "the study was stopped")
        unit_of_work.reload()
        settle_stop(unit_of_work)

    return await _change(context, name, work)


async def extend_study(context: Context, name: str, request: ExtendRequest) -> StudyView:
    """Raise the budget of trials; a finished study becomes active again.

    Raises:
        DomainError: the new budget is no larger than the old one.
    """

    def work(unit_of_work: UnitOfWork) -> None:
        study = unit_of_work.study
        spec = studies.spec(unit_of_work.connection, study.id, study.spec_version)
        if spec.budget.trials is None or request.trials <= spec.budget.trials:
            raise DomainError(
                ErrorCode.STUDY_STATE,
                f"the budget is {spec.budget.trials or 'unlimited'} trials; name more than that to extend it",
            )
        budget = spec.budget.model_copy(update={"trials": request.trials})
        extended = check(context, spec.model_copy(update={"budget": budget}))
        unit_of_work.insert(
            tables.study_spec,
            study_id=study.id,
            version=study.spec_version + 1,
            spec=extended.model_dump(mode="json", exclude_none=True),
            created_at=unit_of_work.now(),
            revision=unit_of_work.revision,
        )
        unit_of_work.advance_study(
            StudyEvent.EXTENDED,
            reason=None,
            spec_version=study.spec_version + 1,
            pause_cause=None,
            stop_requested_at=None,
            finished_at=None,
        )

    return await _change(context, name, work)


def _require(unit_of_work: UnitOfWork, event: StudyEvent) -> None:
    state = StudyState(unit_of_work.study.state)
    if state not in STUDY.moves[event].sources:
        possible = " or ".join(sorted(STUDY.moves[event].sources))
        raise DomainError(
            ErrorCode.STUDY_STATE, f"the study is {state}; only one that is {possible} can be {event.value}"
        )


async def _change(context: Context, name: str, work: Callable[[UnitOfWork], None]) -> StudyView:
    study_id = (await context.database.read(lambda connection: find(connection, name))).id

    def change(unit_of_work: UnitOfWork) -> StudyView:
        work(unit_of_work)
        return _view(unit_of_work.connection, find(unit_of_work.connection, study_id))

    return await context.transact(study_id, change)
