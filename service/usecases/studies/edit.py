"""Edits of a study: replaces its spec; existing trials stay unchanged as observations."""

from __future__ import annotations

import asyncio

from service.contract.problem import ErrorCode
from service.contract.study import EditRequest, StudySpec, StudyState, StudyView
from service.domain.errors import DomainError
from service.domain.metric_names import check_comparable
from service.domain.states import StudyEvent
from service.domain.teachers import teachers_of
from service.search import decide
from service.search.spec_diff import check_edit, differences
from service.storage.queries import budget_usage, studies, trials
from service.storage.tables import Connection
from service.storage.unit_of_work import UnitOfWork
from service.usecases.attempts.outcome import complete_if_done
from service.usecases.catalogue import known_catalogue
from service.usecases.context import Context
from service.usecases.specs import store_spec
from service.usecases.studies.creation import check_spec, require_comparable
from service.usecases.studies.stages import discard_proposal, waits_for_review
from service.usecases.studies.study_lookup import find_study, get_study, view_of
from service.usecases.studies.teachers import pin_teachers


async def edit_study(context: Context, name: str, request: EditRequest) -> StudyView:
    """Replace the spec version that the edit started from by a new version.

    A completed study becomes active again if the new spec leaves something to do. A box that waits for a review is
    withdrawn, so that the sampler proposes it again under the new spec.

    Raises:
        DomainError: The spec is invalid, by itself or with the existing trials; another version is in force; or the
            study was stopped.
    """
    catalogue = await known_catalogue(context)
    checked = await asyncio.to_thread(check_spec, catalogue, request.spec)

    def look(connection: Connection) -> tuple[str, StudySpec, bool]:
        study = find_study(connection, name)
        old = studies.spec(connection, study.id, study.spec_version)
        if not any(check_comparable(old, catalogue)):  # an older study keeps what it was created with
            require_comparable(catalogue, checked)
        spec = pin_teachers(context, connection, checked, known={teacher for _, teacher in teachers_of(old)})
        history = context.histories.latest(connection, study.id, old.primary_objective.metric)
        used = budget_usage.budget_usage(connection, study, spec, context.database.dialect.now(connection))
        return study.id, spec, decide.completion_reason(history, spec, used) is None

    study_id, spec, has_more = await context.database.read(look)

    def work(unit_of_work: UnitOfWork) -> StudyView:
        study, connection = unit_of_work.study, unit_of_work.connection
        old = studies.spec(connection, study_id, study.spec_version)
        changes = [f"{path}: {change}" for path, change in differences(old, spec)]
        if changes:
            _require_editable(unit_of_work, request.version)
            made = [
                (stage, studies.spec(connection, study_id, version))
                for stage, version in trials.stages_made(connection, study_id)
            ]
            errors = check_edit(old, spec, num_trials=study.next_number, stages_made=made)
            if errors:
                raise DomainError(ErrorCode.INVALID_SPEC, f"{errors[0].path}: {errors[0].message}", errors)
            version = study.spec_version + 1
            store_spec(unit_of_work, study_id, version, spec)
            unit_of_work.set_study(spec_version=version, owner=spec.owner, priority=spec.priority)
            unit_of_work.record("study_edited", data={"version": version, "changes": changes})
            _go_on(unit_of_work, has_more=has_more)
        return view_of(unit_of_work, context, study_id)

    await context.transact(study_id, work)
    # The study may have used up a smaller budget already.
    await complete_if_done(context, study_id)
    return await get_study(context, study_id)


def _require_editable(unit_of_work: UnitOfWork, version: int) -> None:
    study = unit_of_work.study
    if study.spec_version != version:
        message = (
            f"the study is at version {study.spec_version} of its spec, and this edit was made from version {version}; "
            f"see what changed (study show {study.name} --spec), and edit that"
        )
        raise DomainError(ErrorCode.STUDY_CHANGED, message)
    if study.stop_requested_at is not None:
        message = f"the study was stopped; extend it first (study extend {study.name} --trials N)"
        raise DomainError(ErrorCode.STUDY_STATE, message)


def _go_on(unit_of_work: UnitOfWork, *, has_more: bool) -> None:
    """Reactivate a completed study that has more to do, or a study that waits for the review of an outdated box."""
    study = unit_of_work.study
    if study.state == StudyState.COMPLETED and has_more:
        unit_of_work.advance_study(StudyEvent.EXTENDED, pause_cause=None, finished_at=None)
    if waits_for_review(study):
        discard_proposal(unit_of_work)
        unit_of_work.advance_study(StudyEvent.RESUMED, pause_cause=None)
