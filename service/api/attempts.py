"""Routes for workers: claim, heartbeat, provenance, report, checkpoint, warnings, logs, finish, predictions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body

from service.api.body import JsonRoute
from service.api.dependencies import ContextDep
from service.api.parameters import AttemptNumber
from service.contract.attempt import (
    CheckpointReply,
    CheckpointRequest,
    FinishReply,
    FinishRequest,
    HeartbeatReply,
    HeartbeatRequest,
)
from service.contract.claim import ClaimRequest, Grant, NoTrial
from service.contract.log import LogReply, LogRequest, Stream
from service.contract.predictions import PredictionsReply, PredictionsRequest
from service.contract.provenance import ProvenanceRequest, WarningRequest, WarningsReply
from service.contract.report import ReportRequest, Verdict
from service.usecases.attempts.checkpoint import register_checkpoint
from service.usecases.attempts.finish import finish
from service.usecases.attempts.heartbeat import heartbeat
from service.usecases.attempts.provenance import record_provenance, warn
from service.usecases.attempts.report import report
from service.usecases.dispatch.claim import claim
from service.usecases.trials.logs import append_log
from service.usecases.trials.predictions import register_predictions

router = APIRouter(tags=["attempts"], route_class=JsonRoute)
_ATTEMPT = "/trials/{trial}/attempts/{attempt}"


@router.post("/claims")
async def post_claim(
    context: ContextDep, request: ClaimRequest
) -> Annotated[Grant | NoTrial, Body(discriminator="kind")]:
    """Claim a trial to execute. If there is none, the answer says why and when to ask again."""
    return await claim(context, request)


@router.post("/heartbeats")
async def post_heartbeat(context: ContextDep, request: HeartbeatRequest) -> HeartbeatReply:
    """Renew the leases that a worker lists. The answer has the status of each, with an order for its trial."""
    return await heartbeat(context, request)


@router.post(f"{_ATTEMPT}/provenance")
async def put_provenance(
    context: ContextDep, trial: str, attempt: AttemptNumber, request: ProvenanceRequest
) -> WarningsReply:
    """Record the code, data and environment of an attempt, once per attempt."""
    return await record_provenance(context, trial, attempt, request)


@router.post(f"{_ATTEMPT}/reports")
async def post_report(context: ContextDep, trial: str, attempt: AttemptNumber, request: ReportRequest) -> Verdict:
    """Report metrics of an attempt. The verdict says whether to continue, pause or stop."""
    return await report(context, trial, attempt, request)


@router.post(f"{_ATTEMPT}/checkpoints")
async def post_checkpoint(
    context: ContextDep, trial: str, attempt: AttemptNumber, request: CheckpointRequest
) -> CheckpointReply:
    """Register a checkpoint together with every metric up to its step."""
    return await register_checkpoint(context, trial, attempt, request)


@router.post(f"{_ATTEMPT}/warnings")
async def post_warning(
    context: ContextDep, trial: str, attempt: AttemptNumber, request: WarningRequest
) -> WarningsReply:
    """Record a warning about an attempt."""
    return await warn(context, trial, attempt, request)


@router.post(f"{_ATTEMPT}/logs/{{stream}}")
async def post_log(
    context: ContextDep, trial: str, attempt: AttemptNumber, stream: Stream, request: LogRequest
) -> LogReply:
    """Append output of the training process from an offset on. The answer says at which offset to continue."""
    return await append_log(context, trial, attempt, stream, request)


@router.post(f"{_ATTEMPT}/finish")
async def post_finish(context: ContextDep, trial: str, attempt: AttemptNumber, request: FinishRequest) -> FinishReply:
    """Finish an attempt and record its outcome."""
    return await finish(context, trial, attempt, request)


@router.post(f"{_ATTEMPT}/predictions")
async def post_predictions(
    context: ContextDep, trial: str, attempt: AttemptNumber, request: PredictionsRequest
) -> PredictionsReply:
    """Register the predictions of a finished attempt. The answer says whether the service keeps them."""
    return await register_predictions(context, trial, attempt, request)
