"""Routes of the catalogue: the core's settings and entries, and the custom entries that workers register."""

from __future__ import annotations

from fastapi import APIRouter

from service.api.body import JsonRoute
from service.api.dependencies import Uses
from service.contract.entries import EntriesReply, EntriesRequest, WholeCatalogue
from service.usecases.entries import list_catalogue, tell_entries

router = APIRouter(tags=["catalogue"], route_class=JsonRoute)


@router.get("/catalogue")
async def catalogue(context: Uses) -> WholeCatalogue:
    """Return every setting, entry and metric of the training core, and the custom entries that workers registered."""
    return await list_catalogue(context)


@router.put("/entries")
async def tell(context: Uses, request: EntriesRequest) -> EntriesReply:
    """Register the custom entries with which a worker can train."""
    return await tell_entries(context, request)
