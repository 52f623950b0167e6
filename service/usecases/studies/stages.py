"""Stages of a coarse-to-fine study: stage history, boxes that wait for a review, and the user's review of them."""

from __future__ import annotations

from service.contract.problem import ErrorCode
from service.contract.sampler import CoarseToFineSamplerSpec
from service.contract.stage import Box, Review, ReviewRequest, StageList, StageView
from service.contract.study import PauseCause, StudySpec, StudyState, StudyView
from service.domain.errors import DomainError
from service.domain.history import History, StageBox
from service.domain.states import StudyEvent
from service.search.decide import Propose
from service.search.samplers.coarse_to_fine.box import check_box, format_range, from_bounds
from service.search.samplers.coarse_to_fine.sampler import stages_of
from service.storage import tables
from service.storage.damage import reading, split_damaged
from service.storage.queries import stages, studies
from service.storage.tables import Connection, Row
from service.storage.timestamps import to_datetime
from service.storage.unit_of_work import UnitOfWork
from service.usecases.context import Context
from service.usecases.studies.study_lookup import find_study, view_of

_CAUSE = PauseCause.REVIEW


def begin_stage(unit_of_work: UnitOfWork, stage: StageBox) -> None:
    """Store the box of a stage that begins with a trial of this transaction."""
    _store(unit_of_work, stage, None)
    unit_of_work.record("stage_begun", data={"stage": stage.number, "box": dict(stage.box), "reason": stage.reason})


def request_review(unit_of_work: UnitOfWork, history: History, proposal: Propose) -> None:
    """Pause an active study until a user has reviewed the next box, unless the study has changed since `history`."""
    study, stage = unit_of_work.study, proposal.stage
    if study.revision != history.revision:
        return
    _store(unit_of_work, stage, Review.PROPOSED)
    reason = (
        f"stage {stage.number + 1} of {proposal.num_stages} waits for a review of its box: {stage.reason}. "
        f"Accept it: study accept {study.name}; or with another range: --box 'NAME=[LOW, HIGH]'"
    )
    unit_of_work.advance_study(StudyEvent.PAUSED, reason=reason, pause_cause=_CAUSE)


async def review_stage(context: Context, name: str, number: int, request: ReviewRequest) -> StudyView:
    """Accept the proposed box of a stage or replace it with the user's; then resume the study.

    Raises:
        DomainError: No box of this stage waits for a review, or the user's box is not inside the declared space.
    """
    study_id = (await context.database.read(lambda connection: find_study(connection, name))).id

    def work(unit_of_work: UnitOfWork) -> StudyView:
        study, connection = unit_of_work.study, unit_of_work.connection
        proposed = stages.proposed(connection, study_id) if waits_for_review(study) else None
        if proposed is None or proposed.number != number:
            instead = "none does" if proposed is None else f"stage {proposed.number} does"
            message = f"no box of stage {number} (counted from 0) of {study.name!r} waits for a review; {instead}"
            raise DomainError(ErrorCode.STUDY_STATE, message)
        spec = studies.spec(connection, study_id, study.spec_version)
        if errors := check_box(spec.space, request.box):
            detail = f"{errors[0].path}: {errors[0].message}"
            raise DomainError(ErrorCode.INVALID_PARAMETERS, detail, errors)
        box, changes = _apply_changes(spec, proposed.box, request.box)
        review = Review.EDITED if changes else Review.ACCEPTED
        _store(unit_of_work, StageBox(number, box, "; ".join([proposed.reason, *changes])), review)
        unit_of_work.record("stage_reviewed", data={"stage": number, "review": review, "changes": changes})
        unit_of_work.advance_study(StudyEvent.RESUMED, pause_cause=None)
        return view_of(unit_of_work, context, study_id)

    return await context.transact(study_id, work)


async def list_stages(context: Context, name: str) -> StageList:
    """Return the stage history of a study."""

    def read(connection: Connection) -> StageList:
        study = find_study(connection, name)
        spec = studies.spec(connection, study.id, study.spec_version)
        found, damaged = split_damaged(stages.of_study(connection, study.id), _view, lambda row: row.number)
        num_stages = len(stages_of(spec)) if isinstance(spec.sampler, CoarseToFineSamplerSpec) else 0
        return StageList(num_stages=num_stages, stages=found, damaged=damaged)

    return await context.database.read_for_viewer(read)


def _view(row: Row) -> StageView:
    with reading(f"stage {row.number}", row):
        return StageView(
            number=row.number,
            box=row.box,
            reason=row.reason,
            review=row.review,
            decided_at=to_datetime(row.decided_at),
        )


def waits_for_review(study: Row) -> bool:
    """Return whether the study is paused until a user has reviewed a box."""
    is_asked = study.state == StudyState.PAUSED and study.pause_cause == _CAUSE
    return is_asked and study.stop_requested_at is None


def discard_proposal(unit_of_work: UnitOfWork) -> None:
    """Discard the box that waits for a review, because the spec has changed."""
    table = tables.stage
    waiting = table.c.study_id == unit_of_work.study.id, table.c.review == Review.PROPOSED
    unit_of_work.connection.execute(table.delete().where(*waiting))


def _apply_changes(spec: StudySpec, proposed: Box, changed: Box) -> tuple[Box, list[str]]:
    """Return the proposed box with the user's changes, and a description of each change."""
    before, after = from_bounds(spec.space, proposed), from_bounds(spec.space, {**proposed, **changed})
    changes = [
        f"{name} {format_range(before[name])} -> {format_range(after[name])} as a user chose"
        for name in changed
        if after[name] != before[name]
    ]
    return {**proposed, **changed}, changes


def _store(unit_of_work: UnitOfWork, stage: StageBox, review: Review | None) -> None:
    """Store a stage, replacing an earlier proposal if there is one."""
    discard_proposal(unit_of_work)
    unit_of_work.insert(
        tables.stage,
        study_id=unit_of_work.study.id,
        number=stage.number,
        box=dict(stage.box),
        reason=stage.reason,
        review=review,
        decided_at=unit_of_work.now(),
        revision=unit_of_work.revision,
    )
