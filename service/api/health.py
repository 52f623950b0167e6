"""Route of the health check."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter

from service.api.dependencies import ContextDep
from service.contract.base import PROTOCOL_VERSION
from service.contract.health import Health
from service.usecases.health import check_health

router = APIRouter(tags=["health"])


@router.get("/health")
async def health(context: ContextDep) -> Health:
    """Check the database, and return versions and the database's time. Needs no token."""
    now = await check_health(context)
    return Health(
        status="ok",
        version=version("assayer"),
        protocol=PROTOCOL_VERSION,
        database=context.database.dialect.name,
        now=now,
    )
