"""The only module of the server that reads the process's clock. It is for timers.

The database's clock provides all stored timestamps.
"""

from __future__ import annotations

import asyncio
import time


def monotonic() -> float:
    """Return the seconds since an arbitrary start. The value never decreases."""
    return time.monotonic()


def thread_seconds() -> float:
    """Return the processor seconds that the calling thread has used."""
    return time.thread_time()


async def sleep(seconds: float) -> None:
    """Suspend the calling task, so that others can run."""
    await asyncio.sleep(seconds)
