"""Health: can the database be asked."""

from __future__ import annotations

from service.usecases.context import Context


async def check_health(context: Context) -> None:
    """Ask the database for the time; raises what it raises."""
    await context.database.read(context.database.dialect.now)
