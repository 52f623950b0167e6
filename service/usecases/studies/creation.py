"""Create studies: check a spec against the catalogue, and store it as a new study."""

from __future__ import annotations

import asyncio

from service.contract.catalogue import Catalogue
from service.contract.problem import ErrorCode
from service.contract.study import StudySpec, StudyView
from service.contract.validation_errors import MAX_MISTAKES
from service.domain.errors import DomainError
from service.domain.metric_directions import check_directions
from service.domain.metric_names import check_comparable
from service.domain.states import STUDY
from service.search import validation
from service.storage.queries import studies
from service.storage.tables import Connection
from service.storage.unit_of_work import UnitOfWork
from service.usecases.catalogue import known_catalogue
from service.usecases.context import Context
from service.usecases.specs import store_spec
from service.usecases.studies.preflight import begin_preflight
from service.usecases.studies.study_lookup import view_of
from service.usecases.studies.teachers import pin_teachers
from service.usecases.studies.warm_start import PriorTrials, find_prior_trials, store_prior_trials


def check_spec(catalogue: Catalogue, spec: StudySpec) -> StudySpec:
    """Check a whole spec, including its task against the catalogue, and fill in what follows from the task.

    Raises:
        DomainError: The spec is invalid; all errors are listed.
    """
    errors = validation.check_spec(spec, catalogue)
    if errors:
        first = errors[0]
        # Each check stops at MAX_MISTAKES errors, so the total is unknown in that case.
        number = "" if len(errors) >= MAX_MISTAKES else f"{len(errors) - 1} "
        more = f" (and {number}more)" if len(errors) > 1 else ""
        raise DomainError(ErrorCode.INVALID_SPEC, f"{first.path}: {first.message}{more}", errors[:MAX_MISTAKES])
    return validation.with_resource(spec, catalogue)


def require_comparable(catalogue: Catalogue, spec: StudySpec) -> None:
    """Refuse a loss as objective where trials differ in the options of their loss.

    Raises:
        DomainError: An objective cannot be compared between the study's trials.
    """
    errors = list(check_comparable(spec, catalogue))
    if errors:
        raise DomainError(ErrorCode.INCOMPARABLE_LOSS, f"{errors[0].path}: {errors[0].message}", errors)


def _require_directions(spec: StudySpec) -> None:
    """Refuse a built-in metric with the contrary direction; an edit cannot change the direction of older studies.

    Raises:
        DomainError: A study would search for the worst model.
    """
    errors = list(check_directions(spec))
    if errors:
        raise DomainError(ErrorCode.CONTRARY_DIRECTION, f"{errors[0].path}: {errors[0].message}", errors)


def check_new_spec(catalogue: Catalogue, given: StudySpec) -> StudySpec:
    """Check the spec of a new study, apart from the other studies that it names, and fill in what follows.

    Raises:
        DomainError: The spec is invalid.
    """
    spec = check_spec(catalogue, given)
    require_comparable(catalogue, spec)
    _require_directions(spec)
    return spec


async def check_study(context: Context, given: StudySpec) -> tuple[StudySpec, PriorTrials | None]:
    """Check the spec of a new study, including the teachers and the studies for a warm start that it names.

    Raises:
        DomainError: The spec is invalid.
    """
    # Run in a thread: the cost grows with the spec, which may be large.
    catalogue = await known_catalogue(context)
    spec = await asyncio.to_thread(check_new_spec, catalogue, given)

    def read(connection: Connection) -> tuple[StudySpec, PriorTrials | None]:
        return pin_teachers(context, connection, spec), find_prior_trials(connection, spec)

    return await context.database.read(read)


async def create_study(context: Context, given: StudySpec) -> StudyView:
    """Check the spec and create the study.

    Raises:
        DomainError: The spec is invalid, or the project has a study with this name.
    """
    spec, prior = await check_study(context, given)
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
        if prior is not None:
            store_prior_trials(unit_of_work, prior)
        if spec.preflight_mode != "off":
            begin_preflight(unit_of_work, spec)
        return view_of(unit_of_work, context, study_id)

    return await context.transact(None, work)
