"""Routes of trials, for those who look."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from service.api.dependencies import Uses
from service.contract.lease import Grant, ResumePoint
from service.contract.log import LogView, Stream
from service.contract.study import Front
from service.contract.trial import ForkRequest, TrialDetail, TrialList, TrialView
from service.usecases import trials
from service.usecases.forks import fork_trial, list_forks
from service.usecases.logs import read_log

router = APIRouter(prefix="/studies/{study}", tags=["trials"])


@router.get("/trials")
async def list_(
    context: Uses,
    study: str,
    since: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 5_000,
) -> TrialList:
    """Trials that changed after revision `since`; ask again with the answer's revision."""
    return await trials.list_trials(context, study, since, limit)


@router.get("/trials/{trial}")
async def get(context: Uses, study: str, trial: str) -> TrialDetail:
    """One trial, by number or id, with its attempts, series, verdicts and configuration."""
    return await trials.get_trial(context, study, trial)


@router.get("/trials/{trial}/grant")
async def grant(context: Uses, study: str, trial: str) -> Grant:
    """What a worker that executes the trial afresh would be told, to try it by hand; nothing is leased."""
    return await trials.get_grant(context, study, trial)


@router.get("/trials/{trial}/checkpoint")
async def checkpoint(context: Uses, study: str, trial: str) -> ResumePoint:
    """The trial's newest checkpoint that is kept: read it from `/blobs/{sha256}`."""
    return await trials.get_checkpoint(context, study, trial)


@router.get("/trials/{trial}/logs")
async def logs(
    context: Uses,
    study: str,
    trial: str,
    *,
    attempt: Annotated[int | None, Query(ge=1)] = None,
    stream: Stream = Stream.STDOUT,
    after: Annotated[int, Query(ge=0)] = 0,
) -> LogView:
    """What an attempt of a trial printed, by default the newest; ask again with the answer's `next`."""
    return await read_log(context, study, trial, attempt=attempt, stream=stream, after=after)


@router.post("/trials/{trial}/fork", status_code=201)
async def fork(context: Uses, study: str, trial: str, request: ForkRequest) -> TrialView:
    """Go on from a checkpoint of a trial with changed settings, beside the search."""
    return await fork_trial(context, study, trial, request)


@router.get("/forks")
async def forks(context: Uses, study: str) -> TrialList:
    """The forks of the study's trials, the first one first."""
    return await list_forks(context, study)


@router.get("/best")
async def best(context: Uses, study: str) -> TrialDetail:
    """The completed trial with the best value; a study with several objectives has none."""
    return await trials.get_best(context, study)


@router.get("/front")
async def front(context: Uses, study: str) -> Front:
    """The completed trials that no other one dominates, and the hypervolume under them."""
    return await trials.get_front(context, study)
