"""Routes of trials for viewers: listings, details, logs, predictions, checkpoints and forks."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from service.api.body import JsonRoute
from service.api.dependencies import ContextDep
from service.api.parameters import After, Attempt
from service.api.shared_answers import shared
from service.contract.claim import Grant, ResumePoint
from service.contract.diagnosis import TrialDiagnosis
from service.contract.finding import Confidence
from service.contract.log import LogView, Stream
from service.contract.predictions import PARQUET, PredictionsList
from service.contract.study import ParetoFront
from service.contract.trial import ForkRequest, ReleaseRequest, TrialDetail, TrialList, TrialView
from service.usecases.blobs import read_blob
from service.usecases.diagnosis_lookup import get_trial_diagnosis
from service.usecases.trials import trial_lookup
from service.usecases.trials.forks import fork_trial, list_forks
from service.usecases.trials.logs import read_log
from service.usecases.trials.predictions import find_predictions, list_predictions
from service.usecases.trials.release import release_trial

router = APIRouter(prefix="/studies/{study}", tags=["trials"], route_class=JsonRoute)
_FILE = {"content": {PARQUET: {"schema": {"type": "string", "format": "binary"}}}}


@router.get("/trials", response_model=TrialList)
async def list_trials(
    request: Request,
    context: ContextDep,
    study: str,
    since: After = 0,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 5_000,
) -> Response:
    """List the trials that changed after revision `since`. Pass the answer's revision in the next request."""
    return await shared(request, context, lambda: trial_lookup.list_trials(context, study, since, limit))


@router.get("/trials/{trial}")
async def get(context: ContextDep, study: str, trial: str) -> TrialDetail:
    """Return one trial, by number or id, with its attempts, series, verdicts and configuration."""
    return await trial_lookup.get_trial(context, study, trial)


@router.post("/trials/{trial}/release")
async def release(context: ContextDep, study: str, trial: str, request: ReleaseRequest | None = None) -> TrialView:
    """Release a running trial from its worker. It waits for another worker, and no failure or retry is charged."""
    return await release_trial(context, study, trial, request or ReleaseRequest())


@router.get("/trials/{trial}/grant")
async def grant(context: ContextDep, study: str, trial: str) -> Grant:
    """Return the grant that a worker would get to start the trial afresh, for a try by hand. Leases nothing."""
    return await trial_lookup.get_grant(context, study, trial)


@router.get("/trials/{trial}/checkpoint")
async def checkpoint(context: ContextDep, study: str, trial: str) -> ResumePoint:
    """Return the trial's newest kept checkpoint. Download its content from `/blobs/{sha256}`."""
    return await trial_lookup.get_checkpoint(context, study, trial)


@router.get("/trials/{trial}/diagnosis")
async def diagnosis(
    context: ContextDep, study: str, trial: str, rule: str | None = None, confidence: Confidence | None = None
) -> TrialDiagnosis:
    """Return what the rules found about the trial; filter by rule or confidence."""
    return await get_trial_diagnosis(context, study, trial, rule, confidence)


@router.get("/trials/{trial}/logs")
async def logs(
    context: ContextDep,
    study: str,
    trial: str,
    *,
    attempt: Attempt = None,
    stream: Stream = Stream.STDOUT,
    after: After = 0,
) -> LogView:
    """Return the output of an attempt, by default the newest.

    Pass the answer's `next` as `after` in the next request.
    """
    return await read_log(context, study, trial, attempt=attempt, stream=stream, after=after)


@router.get("/trials/{trial}/predictions", response_class=StreamingResponse, responses={200: _FILE})
async def predictions(
    context: ContextDep, study: str, trial: str, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """Download the predictions of the trial's model on held-out examples, as a Parquet file.

    The service keeps the predictions of a study's best trials only.
    """
    found = await find_predictions(context, study, trial)
    tag = f'"{found.sha256}"'
    if if_none_match == tag:
        return Response(status_code=304, headers={"ETag": tag})
    headers = {"Content-Length": str(found.size), "ETag": tag}
    return StreamingResponse(read_blob(context, found.sha256), headers=headers, media_type=PARQUET)


@router.get("/predictions")
async def list_of_predictions(context: ContextDep, study: str) -> PredictionsList:
    """List the trials whose predictions are kept."""
    return await list_predictions(context, study)


@router.post("/trials/{trial}/fork", status_code=201)
async def fork(context: ContextDep, study: str, trial: str, request: ForkRequest) -> TrialView:
    """Continue from a checkpoint of a trial with changed settings, outside the search."""
    return await fork_trial(context, study, trial, request)


@router.get("/forks")
async def forks(context: ContextDep, study: str) -> TrialList:
    """List the forks of the study's trials, oldest first."""
    return await list_forks(context, study)


@router.get("/best")
async def best(context: ContextDep, study: str) -> TrialDetail:
    """Return the completed trial with the best value. A study with several objectives has none."""
    return await trial_lookup.get_best(context, study)


@router.get("/front", response_model=ParetoFront)
async def front(request: Request, context: ContextDep, study: str) -> Response:
    """Return the Pareto front of the completed trials, and its hypervolume."""
    return await shared(request, context, lambda: trial_lookup.get_front(context, study))
