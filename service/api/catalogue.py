"""Routes of what a task can be set to: the core's entries, and those of their own that workers tell."""

from __future__ import annotations

from fastapi import APIRouter

from service.api.body import JsonRoute
from service.api.dependencies import Uses
from service.contract.entries import EntriesReply, EntriesRequest, WholeCatalogue
from service.usecases.entries import list_catalogue, tell_entries

router = APIRouter(tags=["catalogue"], route_class=JsonRoute)


@router.get("/catalogue")
async def catalogue(context: Uses) -> WholeCatalogue:
    """Every setting, entry and metric of the training core, with the entries that workers have told."""
    return await list_catalogue(context)


@router.put("/entries")
async def tell(context: Uses, request: EntriesRequest) -> EntriesReply:
    """Say which entries of its user's own a worker can train with."""
    return await tell_entries(context, request)
