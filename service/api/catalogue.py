"""Routes of the catalogue: the core's settings and entries, and the custom entries that workers register."""

from __future__ import annotations

from fastapi import APIRouter

from service.api.body import JsonRoute
from service.api.dependencies import ContextDep
from service.contract.custom_entries import CatalogueView, EntriesReply, EntriesRequest
from service.usecases.catalogue import list_catalogue, register_entries

router = APIRouter(tags=["catalogue"], route_class=JsonRoute)


@router.get("/catalogue")
async def catalogue(context: ContextDep) -> CatalogueView:
    """Return every setting, entry and metric of the training core, and the custom entries that workers registered."""
    return await list_catalogue(context)


@router.put("/entries")
async def put_entries(context: ContextDep, request: EntriesRequest) -> EntriesReply:
    """Register the custom entries with which a worker can train."""
    return await register_entries(context, request)
