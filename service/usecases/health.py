"""Health: can the database be asked."""

from __future__ import annotations

from datetime import datetime

from service.storage.instants import to_datetime
from service.usecases.context import Context


async def check_health(context: Context) -> datetime:
    """Ask the database for the time; raises what it raises."""
    return to_datetime(await context.database.read(context.database.dialect.now))
