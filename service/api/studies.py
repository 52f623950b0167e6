"""Routes of studies."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from service.api.body import JsonRoute
from service.api.dependencies import ContextDep
from service.api.parameters import After, StageNumber
from service.api.shared_answers import shared
from service.contract.diagnosis import StudyDiagnosis
from service.contract.finding import Confidence
from service.contract.importance import Importance
from service.contract.plan import Plan, Replay, ReplayRequest
from service.contract.preflight_view import PreflightView
from service.contract.problem import FieldError
from service.contract.remedy import ApplyReply, ApplyRequest, FollowUpDraft
from service.contract.stage import ReviewRequest, StageList
from service.contract.study import (
    DeleteReply,
    EditRequest,
    EnqueueReply,
    EnqueueRequest,
    EventList,
    ExtendRequest,
    ReasonRequest,
    StudyList,
    StudySpec,
    StudyView,
)
from service.usecases.diagnosis_lookup import get_study_diagnosis
from service.usecases.remedies.apply import apply_remedy
from service.usecases.remedies.draft import draft_follow_up
from service.usecases.studies import creation, lifecycle, stages, study_lookup
from service.usecases.studies.deletion import delete_study
from service.usecases.studies.edit import edit_study
from service.usecases.studies.enqueue import enqueue
from service.usecases.studies.importance import study_importance
from service.usecases.studies.planning import plan_study, replay_study
from service.usecases.studies.preflight import get_preflight, start_preflight

router = APIRouter(prefix="/studies", tags=["studies"], route_class=JsonRoute)


class Checked(BaseModel):
    """The answer to a valid spec: no errors."""

    errors: list[FieldError] = []


@router.post("", status_code=201)
async def create(context: ContextDep, spec: StudySpec) -> StudyView:
    """Create a study."""
    return await creation.create_study(context, spec)


@router.post("/check")
async def check(context: ContextDep, spec: StudySpec) -> Checked:
    """Validate a spec without creating a study."""
    await creation.check_study(context, spec)
    return Checked()


@router.post("/plan")
async def plan(context: ContextDep, spec: StudySpec, like: str | None = None) -> Plan:
    """Estimate what a study would cost, without creating it.

    The plan includes the time if `like` names a study in which the duration of a step was measured.
    """
    return await plan_study(context, spec, like)


@router.get("", response_model=StudyList)
async def list_studies_(request: Request, context: ContextDep) -> Response:
    """List all studies, newest first."""
    return await shared(request, context, lambda: study_lookup.list_studies(context))


@router.get("/{study}", response_model=StudyView)
async def get(request: Request, context: ContextDep, study: str) -> Response:
    """Return one study, by name or id."""
    return await shared(request, context, lambda: study_lookup.get_study(context, study))


@router.delete("/{study}")
async def delete(context: ContextDep, study: str) -> DeleteReply:
    """Delete a study and all its data, if none of its trials is running. Its name can be used again at once."""
    return await delete_study(context, study)


@router.post("/{study}/pause")
async def pause(context: ContextDep, study: str, request: ReasonRequest | None = None) -> StudyView:
    """Stop handing out trials until the study is resumed. Running trials continue."""
    return await lifecycle.pause_study(context, study, request.reason if request else "")


@router.post("/{study}/resume")
async def resume(context: ContextDep, study: str, request: ReasonRequest | None = None) -> StudyView:
    """Resume a paused study, so that it hands out trials again."""
    return await lifecycle.resume_study(context, study, request.reason if request else "")


@router.post("/{study}/stop")
async def stop(context: ContextDep, study: str, request: ReasonRequest | None = None) -> StudyView:
    """End the search. Running trials are ordered to stop."""
    return await lifecycle.stop_study(context, study, request.reason if request else "")


@router.post("/{study}/extend")
async def extend(context: ContextDep, study: str, request: ExtendRequest) -> StudyView:
    """Raise the budget. A finished study becomes active again."""
    return await lifecycle.extend_study(context, study, request)


@router.put("/{study}/spec")
async def edit(context: ContextDep, study: str, request: EditRequest) -> StudyView:
    """Continue with an edited spec. The trials so far are kept as observations."""
    return await edit_study(context, study, request)


@router.post("/{study}/enqueue", status_code=201)
async def enqueue_(context: ContextDep, study: str, request: EnqueueRequest) -> EnqueueReply:
    """Queue a configuration to try before the sampler's own suggestions."""
    return await enqueue(context, study, request)


@router.post("/{study}/actions")
async def apply(context: ContextDep, study: str, request: ApplyRequest) -> ApplyReply:
    """Carry out the action of a finding's remedy, or with `dry_run` describe what it would change."""
    return await apply_remedy(context, study, request)


@router.get("/{study}/next", response_model=FollowUpDraft)
async def next_(request: Request, context: ContextDep, study: str) -> Response:
    """Draft a follow-up study from the findings: its spec, each change with its reason, and what contradicts them."""
    return await shared(request, context, lambda: draft_follow_up(context, study))


@router.get("/{study}/stages", response_model=StageList)
async def stages_(request: Request, context: ContextDep, study: str) -> Response:
    """Return the stage history of a coarse-to-fine study: the box of each stage after the first, and why."""
    return await shared(request, context, lambda: stages.list_stages(context, study))


@router.post("/{study}/stages/{number}")
async def review(
    context: ContextDep, study: str, number: StageNumber, request: ReviewRequest | None = None
) -> StudyView:
    """Accept the box that a stage proposes, or replace ranges of it. The study continues."""
    return await stages.review_stage(context, study, number, request or ReviewRequest())


@router.post("/{study}/preflight", status_code=201)
async def start_preflight_(context: ContextDep, study: str) -> PreflightView:
    """Have a worker check the study (again) by its current spec. While a preflight is open, that one is returned."""
    return await start_preflight(context, study)


@router.get("/{study}/preflight", response_model=PreflightView)
async def get_preflight_(request: Request, context: ContextDep, study: str) -> Response:
    """Return the study's newest preflight, with the results of its checks once it has ended."""
    return await shared(request, context, lambda: get_preflight(context, study))


@router.post("/{study}/replay")
async def replay(context: ContextDep, study: str, request: ReplayRequest) -> Replay:
    """Simulate another pruner on the study's recorded curves."""
    return await replay_study(context, study, request)


@router.get("/{study}/diagnosis", response_model=StudyDiagnosis)
async def diagnosis(
    request: Request, context: ContextDep, study: str, rule: str | None = None, confidence: Confidence | None = None
) -> Response:
    """Return what the rules found about the study and, by rule, about its trials; filter by rule or confidence.

    The service computes findings in the background. `lags` says whether the study has changed since.
    """
    return await shared(request, context, lambda: get_study_diagnosis(context, study, rule, confidence))


@router.get("/{study}/importance", response_model=Importance)
async def importance(request: Request, context: ContextDep, study: str) -> Response:
    """Return which parameters distinguish the study's best trials from the others.

    For an active study the answer is up to 5 seconds old.
    """
    return await shared(request, context, lambda: study_importance(context, study))


@router.get("/{study}/events")
async def events(
    context: ContextDep,
    study: str,
    after: After = 0,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
    kind: str | None = None,
) -> EventList:
    """Return the study's journal after a revision, for one kind of event or for all."""
    return await study_lookup.list_events(context, study, after, limit, kind)
