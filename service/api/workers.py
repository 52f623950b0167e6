"""Routes of workers, for those who look."""

from __future__ import annotations

from fastapi import APIRouter

from service.api.dependencies import Uses
from service.contract.worker import WorkerList
from service.usecases.workers import list_workers

router = APIRouter(tags=["workers"])


@router.get("/workers")
async def workers(context: Uses) -> WorkerList:
    """All workers, most recently seen first."""
    return await list_workers(context)
