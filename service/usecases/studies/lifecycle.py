"""Study lifecycle: pause, resume, stop, extend."""

from __future__ import annotations

from collections.abc import Callable

from service.contract.problem import ErrorCode
from service.contract.study import ExtendRequest, PauseCause, StudySpec, StudyState, StudyView
from service.domain import budget
from service.domain.errors import DomainError
from service.domain.states import FINISHED_STUDIES, STUDY, StudyEvent
from service.storage.queries import budget_usage, history, studies
from service.storage.unit_of_work import UnitOfWork
from service.usecases.attempts.outcome import cancel_unclaimed, complete_if_done, stop_if_done
from service.usecases.catalogue import merged_catalogue
from service.usecases.context import Context
from service.usecases.quarantine import lift_exclusions
from service.usecases.specs import store_spec
from service.usecases.studies.creation import check_spec
from service.usecases.studies.stages import waits_for_review
from service.usecases.studies.study_lookup import find_study, get_study, view_of


async def pause_study(context: Context, name: str, reason: str) -> StudyView:
    """Stop assigning trials until the study is resumed; running trials go on."""
    return await _change(context, name, lambda unit_of_work: _pause(unit_of_work, reason))


def _pause(unit_of_work: UnitOfWork, reason: str) -> None:
    _require(unit_of_work, StudyEvent.PAUSED)
    unit_of_work.advance_study(StudyEvent.PAUSED, reason=reason or "paused by a user", pause_cause=PauseCause.USER)


async def resume_study(context: Context, name: str, reason: str = "") -> StudyView:
    """Assign trials again, also to hosts that were excluded from the study: what was missing may be there now.

    Raises:
        DomainError: The study is not paused, or a user must review a box first.
    """

    def work(unit_of_work: UnitOfWork) -> None:
        _require(unit_of_work, StudyEvent.RESUMED)
        if waits_for_review(unit_of_work.study):
            message = f"the study waits for a review of a box; accept it: study accept {unit_of_work.study.name}"
            raise DomainError(ErrorCode.STUDY_STATE, message)
        # Only the journal has this reason: a state's reason says why a study is not active.
        unit_of_work.advance_study(StudyEvent.RESUMED, details={"reason": reason or None}, pause_cause=None)
        lift_exclusions(unit_of_work)

    study = await _change(context, name, work)
    # The study's last trials may have ended while it was paused.
    await complete_if_done(context, study.id)
    return await get_study(context, study.id)


async def stop_study(context: Context, name: str, reason: str) -> StudyView:
    """Stop the search: cancel waiting trials, tell running ones to stop; once they ended, the study is stopped."""

    def work(unit_of_work: UnitOfWork) -> None:
        study = unit_of_work.study
        if study.state in FINISHED_STUDIES or study.stop_requested_at is not None:
            return
        reason_given = reason or "stopped by a user"
        unit_of_work.set_study(stop_requested_at=unit_of_work.now(), state_reason=reason_given)
        unit_of_work.record("stop_requested", data={"reason": reason_given})
        cancel_unclaimed(unit_of_work, "the study was stopped")
        unit_of_work.reload()
        stop_if_done(unit_of_work)

    return await _change(context, name, work)


async def extend_study(context: Context, name: str, request: ExtendRequest) -> StudyView:
    """Raise budgets; a finished study becomes active again.

    Raises:
        DomainError: A new budget is not larger than the old one, or another budget would end the study at once.
    """

    def work(unit_of_work: UnitOfWork) -> None:
        study = unit_of_work.study
        spec = studies.spec(unit_of_work.connection, study.id, study.spec_version)
        catalogue = merged_catalogue(unit_of_work.connection, context)
        extended = check_spec(catalogue, spec.model_copy(update={"budget": budget.extended_budget(spec, request)}))
        _refuse_if_used_up(unit_of_work, context, extended)
        store_spec(unit_of_work, study.id, study.spec_version + 1, extended)
        unit_of_work.advance_study(
            StudyEvent.EXTENDED,
            reason=None,
            spec_version=study.spec_version + 1,
            pause_cause=None,
            stop_requested_at=None,
            finished_at=None,
        )

    return await _change(context, name, work)


def _refuse_if_used_up(unit_of_work: UnitOfWork, context: Context, spec: StudySpec) -> None:
    """Raise if a budget that was not extended, or not far enough, would end the study at once."""
    study, connection = unit_of_work.study, unit_of_work.connection
    if not budget.has_stopping_limits(spec.budget):
        return
    known = history.refresh(connection, study.id, spec.primary_objective.metric, context.histories.cached(study.id))
    reason = budget.exhausted_reason(
        spec, known, budget_usage.budget_usage(connection, study, spec, unit_of_work.now())
    )
    if reason is not None:
        message = f"{reason}, so the study would end at once; extend that budget too"
        raise DomainError(ErrorCode.STUDY_STATE, message)


def _require(unit_of_work: UnitOfWork, event: StudyEvent) -> None:
    state = StudyState(unit_of_work.study.state)
    if state not in STUDY.transitions[event].sources:
        possible = " or ".join(sorted(STUDY.transitions[event].sources))
        raise DomainError(
            ErrorCode.STUDY_STATE, f"the study is {state}; only one that is {possible} can be {event.value}"
        )


async def _change(context: Context, name: str, work: Callable[[UnitOfWork], None]) -> StudyView:
    study_id = (await context.database.read(lambda connection: find_study(connection, name))).id

    def change(unit_of_work: UnitOfWork) -> StudyView:
        work(unit_of_work)
        return view_of(unit_of_work, context, study_id)

    return await context.transact(study_id, change)
