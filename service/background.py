"""Upkeep on a timer: leases that ran out. Safe to run in every replica."""

from __future__ import annotations

import logging

from service.clock import sleep
from service.usecases.context import Context
from service.usecases.reap import reap

log = logging.getLogger(__name__)


async def keep_up(context: Context) -> None:
    """Reap every few seconds, for ever; a failure is logged and the next round tries again."""
    while True:
        try:
            num_lost = await reap(context)
            if num_lost:
                log.warning("%d attempts were lost: their workers fell silent", num_lost)
        except Exception:
            log.exception("upkeep failed; it is tried again")
        await sleep(context.limits.reaper_seconds)
