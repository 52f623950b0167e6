"""Routes of trials, for those who look."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from service.api.dependencies import Uses
from service.contract.log import LogView, Stream
from service.contract.study import Front
from service.contract.trial import TrialDetail, TrialList
from service.usecases import trials
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


@router.get("/trials/{number}")
async def get(context: Uses, study: str, number: int) -> TrialDetail:
    """One trial with its attempts, series, verdicts and configuration."""
    return await trials.get_trial(context, study, number)


@router.get("/trials/{number}/logs")
async def logs(
    context: Uses,
    study: str,
    number: int,
    *,
    attempt: Annotated[int | None, Query(ge=1)] = None,
    stream: Stream = Stream.STDOUT,
    after: Annotated[int, Query(ge=0)] = 0,
) -> LogView:
    """What an attempt of a trial printed, by default the newest; ask again with the answer's `next`."""
    return await read_log(context, study, number, attempt=attempt, stream=stream, after=after)


@router.get("/best")
async def best(context: Uses, study: str) -> TrialDetail:
    """The completed trial with the best value; a study with several objectives has none."""
    return await trials.get_best(context, study)


@router.get("/front")
async def front(context: Uses, study: str) -> Front:
    """The completed trials that no other one dominates, and the hypervolume under them."""
    return await trials.get_front(context, study)
