"""The only place that reads this process's clock: for timers. Instants in data are the database's."""

from __future__ import annotations

import asyncio
import time


def monotonic() -> float:
    """Seconds since an arbitrary start, never going back."""
    return time.monotonic()


async def sleep(seconds: float) -> None:
    """Let others work for a while."""
    await asyncio.sleep(seconds)
