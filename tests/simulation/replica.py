"""A simulated replica of the service: a context with caches, a reaper, and requests that a crash interrupts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from service.contract.catalogue import Catalogue, load_catalogue
from service.domain.errors import DomainError
from service.storage.database import Database
from service.storage.unit_of_work import Transactor
from service.usecases.context import Context, Limits
from service.usecases.maintenance.budget_expiry import complete_expired_studies
from service.usecases.maintenance.reaper import credit_downtime, reap
from tests.simulation.client_record import Answer, Call
from tests.simulation.memory import SimulatedSqlite, memory
from tests.simulation.plan import ReplicaPlan

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario

LIMITS = Limits(lease_seconds=60, heartbeat_seconds=10, reaper_seconds=5, retry_seconds=6)

PATIENT = replace(LIMITS, turn_seconds=3600, suggest_seconds=3600)
"""A claim waits for a study however long that takes, so that every grant says whether it was the study's turn."""

SKEW: ContextVar[float] = ContextVar("skew", default=0.0)
"""How far the clock of the host is off whose code runs right now."""

SLUGGISH: ContextVar[float] = ContextVar("sluggish", default=0.0)
"""How many seconds more whatever runs right now may wait between its transactions."""


class Failed(Exception):
    """The service answered that it cannot answer (a 500 or 503): ask again."""


@cache
def catalogue() -> Catalogue:
    return load_catalogue()


def build_context(world: Scenario) -> Context:
    """What one process of the service works with: the shared database, and caches of its own."""
    database = Database(SimulatedSqlite(memory().engine, world.now))
    limits = PATIENT if world.plan.is_patient else LIMITS
    return Context(database, Transactor(database, world.new_id), catalogue(), world.new_id, limits)


class Replica:
    """Serves while it is up; what it knows beyond the database is gone when it crashes."""

    def __init__(self, world: Scenario, plan: ReplicaPlan) -> None:
        self._world = world
        self._plan = plan
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_up = False

    def start(self) -> None:
        self.context = build_context(self._world)
        self.is_up = True
        self._spawn(self._credit())
        self._spawn(self._keep_up())

    def crash(self) -> None:
        """Go away at once; a transaction that was handed to the database may still be executed, or not."""
        self.is_up = False
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()

    def serve(self, call: Call, answered: Callable[[Any], None]) -> None:
        """Carry out a call and tell the answer: the reply, or the exception that the client raises."""
        self._spawn(self._answer(call, answered))

    async def _answer(self, call: Call, answered: Callable[[Any], None]) -> None:
        arrived_at = self._world.now()
        self._world.record.arrived(call, arrived_at)
        try:
            reply = await call.carry_out(self.context)
        except DomainError as error:
            self._world.answered(Answer(call, arrived_at, refusal=error.code))
            answered(error)
        except sa.exc.OperationalError:
            answered(Failed())
        except Exception as error:
            self._world.blame(f"{type(call.request).__name__} raised {type(error).__name__}: {error}")
            answered(Failed())
        else:
            self._world.answered(Answer(call, arrived_at, reply=reply))
            answered(reply)

    async def _credit(self) -> None:
        while True:
            await self._maintain(credit_downtime)
            await asyncio.sleep(LIMITS.reaper_seconds)

    async def _keep_up(self) -> None:
        SLUGGISH.set(self._plan.upkeep_seconds)
        while True:
            await self._maintain(reap, complete_expired_studies)
            await asyncio.sleep(LIMITS.reaper_seconds)

    async def _maintain(self, *tasks: Callable[[Context], Coroutine[Any, Any, Any]]) -> None:
        try:
            for task in tasks:
                await task(self.context)
        except sa.exc.OperationalError:
            pass  # as in the service: the next round tries again
        except Exception as error:
            self._world.blame(f"upkeep raised {type(error).__name__}: {error}")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        token = SKEW.set(self._plan.skew_seconds)
        task = asyncio.get_running_loop().create_task(work)
        SKEW.reset(token)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
