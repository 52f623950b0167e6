"""Outages: replicas and agents crash, hosts stall or fail, the database is unavailable or restored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from service.domain.errors import DomainError
from service.usecases.maintenance.restore import begin_epoch
from tests.simulation.memory import memory
from tests.simulation.oracles import database_view
from tests.simulation.replica import LIMITS, Replica, build_context
from tests.simulation.worker import Worker

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario

LONGEST_SECONDS = 40.0
"""Within this time whatever was on its way to the database, or back from it, has arrived."""


def troubles(world: Scenario) -> Iterator[Coroutine[Any, Any, None]]:
    """What goes on until the faults end."""
    faults = world.faults
    for replica in world.replicas:
        yield _often(world, faults.replica_crash_seconds, lambda replica=replica: _crash(world, replica))
    yield _often(world, faults.outage_seconds, lambda: _outage(world))
    for worker in world.workers:
        yield _often(world, faults.worker_crash_seconds, lambda worker=worker: _lose(world, worker))
        yield _often(world, faults.worker_pause_seconds, lambda worker=worker: _pause(world, worker))
    for host in sorted({plan.host for plan in world.plan.workers}):
        yield _often(world, faults.host_fault_seconds, lambda host=host: _spoil(world, host))
    if world.plan.is_restored:
        yield _restore(world)


async def _often(world: Scenario, mean_seconds: float, trouble: Callable[[], Any]) -> None:
    while mean_seconds:
        await asyncio.sleep(world.chance.expovariate(1 / mean_seconds))
        await trouble()


async def _crash(world: Scenario, replica: Replica) -> None:
    if replica.is_up:
        replica.crash()
        world.watch.note_service()
        await asyncio.sleep(world.chance.uniform(0.1, 30))
        replica.start()
        world.watch.note_service()


async def _outage(world: Scenario) -> None:
    world.set_database(is_up=False)
    await asyncio.sleep(world.chance.choice([world.chance.uniform(1, 10), world.chance.uniform(30, 200)]))
    world.set_database(is_up=True)


async def _lose(world: Scenario, worker: Worker) -> None:
    worker.crash()
    await asyncio.sleep(world.chance.choice([world.chance.uniform(1, 20), world.chance.uniform(60, 200)]))
    worker.start()


async def _pause(world: Scenario, worker: Worker) -> None:
    # Just as its lease has run out, the reaper and the next sign of life meet.
    query = "SELECT max(expires_at) FROM lease WHERE worker = ?"
    ((expires_at,),) = database_view.rows(query, worker.plan.name)
    left_seconds = max(0.0, ((expires_at or 0) - world.now()) / 1e6)
    slowest = max(plan.upkeep_seconds for plan in world.plan.replicas)
    around = left_seconds + world.chance.uniform(0, LIMITS.reaper_seconds + slowest)
    seconds = world.chance.choice([world.chance.uniform(1, 20), around, around, world.chance.uniform(60, 200)])
    worker.pause(seconds)
    await asyncio.sleep(seconds)


async def _spoil(world: Scenario, host: str) -> None:
    world.bad_hosts.add(host)
    await asyncio.sleep(world.chance.uniform(10, 60))
    world.bad_hosts.discard(host)


async def _restore(world: Scenario) -> None:
    """Take a backup, lose the database later, and serve what `assayer restore` makes of the backup."""
    await asyncio.sleep(world.chance.uniform(20, 150))
    await _until_lost(world.chance.choice([0.0, 100.0]))
    backup, seen, mark = memory().back_up(), world.watch.state.copy(), world.record.mark()
    await asyncio.sleep(world.chance.uniform(5, 150))
    if not world.plan.outlives_restore:
        for replica in world.replicas:
            replica.crash()
    # What was handed to the old database is never executed, and what it had done is answered meanwhile.
    world.disconnect()
    await asyncio.sleep(world.chance.uniform(LONGEST_SECONDS, 3 * LONGEST_SECONDS))
    memory().restore(backup)
    world.record.go_back(mark)
    world.answers.go_back()
    world.watch.go_back(seen)
    await asyncio.shield(_begin_epoch(world))


async def _until_lost(patience_seconds: float) -> None:
    """Wait for an attempt that is lost and may be attached again: a restore must void its token as well."""
    query = (
        "SELECT 1 FROM attempt JOIN trial ON trial.id = trial_id"
        " WHERE attempt.state = 'lost' AND trial.state = 'waiting' AND attempt.number = num_attempts"
    )
    while patience_seconds > 0 and not database_view.rows(query):
        await asyncio.sleep(1)
        patience_seconds -= 1


async def _begin_epoch(world: Scenario) -> None:
    """The command is given until it succeeds, and only then anybody is served."""
    context = world.restorer = build_context(world)
    while True:
        try:
            await begin_epoch(context)
        except (sa.exc.OperationalError, DomainError):  # away, or busy
            await asyncio.sleep(1)
        else:
            break
    for replica in world.replicas:
        if not replica.is_up:
            replica.start()
    world.reconnect()
