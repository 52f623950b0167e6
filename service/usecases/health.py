"""Health check: asks whether the database answers."""

from __future__ import annotations

from datetime import datetime

from service.storage.timestamps import to_datetime
from service.usecases.context import Context


async def check_health(context: Context) -> datetime:
    """Return the database's time; raise whatever the query raises."""
    return to_datetime(await context.database.read(context.database.dialect.now))
