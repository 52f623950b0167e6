"""Periodic maintenance in every replica: lost attempts, time budgets, memory waiters, diagnoses, deletions, blobs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from service.clock import sleep
from service.domain.errors import DomainError
from service.usecases.blobs import collect_blobs
from service.usecases.context import Context
from service.usecases.maintenance.budget_expiry import complete_expired_studies
from service.usecases.maintenance.diagnosis import diagnose_due
from service.usecases.maintenance.oom_expiry import expire_oom_waiters
from service.usecases.maintenance.reaper import credit_downtime, reap
from service.usecases.studies.deletion import remove_deleted

log = logging.getLogger(__name__)

_GIVE_UP_SECONDS = 60.0
_OVERTIME_SECONDS = 15.0
_REMOVE_SECONDS = 10.0
_DIAGNOSE_SECONDS = 2.0


async def run_maintenance(context: Context) -> None:
    """Run all maintenance tasks forever, each at its own interval."""
    await asyncio.gather(
        _repeat(_credit, context, context.limits.reaper_seconds),
        _repeat(_reap, context, context.limits.reaper_seconds),
        _repeat(_give_up, context, _GIVE_UP_SECONDS),
        _repeat(complete_expired_studies, context, _OVERTIME_SECONDS),
        _repeat(_diagnose, context, _DIAGNOSE_SECONDS),
        _repeat(_remove, context, _REMOVE_SECONDS),
        _repeat(_collect, context, context.limits.collect_seconds),
    )


async def _repeat(once: Callable[[Context], Awaitable[None]], context: Context, seconds: float) -> None:
    """Repeat a task forever. Log a failure, and try again in the next round."""
    while True:
        try:
            await once(context)
        except DomainError as error:
            log.warning("maintenance will be repeated: %s", error.detail)
        except Exception:
            log.exception("maintenance failed; it will be repeated")
        await sleep(seconds)


async def _credit(context: Context) -> None:
    await credit_downtime(context)


async def _reap(context: Context) -> None:
    num_lost = await reap(context)
    if num_lost:
        log.warning("%d attempts were lost: their workers stopped sending heartbeats", num_lost)


async def _give_up(context: Context) -> None:
    num_given_up = await expire_oom_waiters(context)
    if num_given_up:
        log.warning("%d trials were given up: the GPUs that they waited for are gone", num_given_up)


async def _diagnose(context: Context) -> None:
    await diagnose_due(context)


async def _remove(context: Context) -> None:
    num_removed = await remove_deleted(context)
    if num_removed:
        log.info("the rows of %d deleted studies were removed", num_removed)


async def _collect(context: Context) -> None:
    num_removed = await collect_blobs(context)
    if num_removed:
        log.info("%d blobs were deleted: nothing refers to them any more", num_removed)
