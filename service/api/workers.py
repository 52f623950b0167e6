"""Routes of workers: list them and lift a quarantine."""

from __future__ import annotations

from fastapi import APIRouter

from service.api.body import JsonRoute
from service.api.dependencies import ContextDep
from service.contract.worker import WorkerList, WorkerView
from service.usecases.quarantine import lift_quarantine
from service.usecases.workers import list_workers

router = APIRouter(tags=["workers"], route_class=JsonRoute)


@router.get("/workers")
async def workers(context: ContextDep) -> WorkerList:
    """List all workers, most recently seen first."""
    return await list_workers(context)


@router.post("/workers/{name}/readmit")
async def post_readmit(context: ContextDep, name: str) -> WorkerView:
    """Lift the quarantine of a host, by its name or that of a worker on it, and its exclusions from studies."""
    return await lift_quarantine(context, name)
