"""Faults other than lost messages: a plan drawn from a seed, and how each fault is caused."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from tests.chaos.cluster import LEASE_SECONDS, Agent, Cluster


class Kind(StrEnum):
    """A fault."""

    CHILD_KILLED = "training processes killed"
    CHILD_STOPPED = "training processes stopped for longer than a lease"
    AGENT_KILLED = "agents killed"
    AGENT_STOPPED = "agents stopped for longer than a lease"
    REPLICA_KILLED = "replicas killed"
    DATABASE_CRASHED = "database restarts (immediate)"


TRIALS_PER_FAULT = {
    Kind.CHILD_KILLED: 50,
    Kind.CHILD_STOPPED: 250,
    Kind.AGENT_KILLED: 200,
    Kind.AGENT_STOPPED: 100,
    Kind.DATABASE_CRASHED: 1000,
}
"""One fault for so many trials, and one at least. Replicas are killed by the clock instead."""

REPLICA_KILLED_SECONDS = 20.0
_STOPPED_SECONDS = (1.5 * LEASE_SECONDS, 2.5 * LEASE_SECONDS)
_DOWN_SECONDS = (0.0, 1.0)


@dataclass(frozen=True)
class Planned:
    """A fault that happens once so many trials are completed."""

    num_completed: int
    kind: Kind


def plan(num_trials: int, seed: int) -> list[Planned]:
    """Spread each kind evenly over the trials, each fault somewhere in its own share of them."""
    chance = Random(f"{seed}/plan")
    planned = []
    for kind, trials_per_fault in TRIALS_PER_FAULT.items():
        num_faults = math.ceil(num_trials / trials_per_fault)
        # Not in the last tenth: a fault that comes when all is over proves nothing.
        share = 0.9 * num_trials / num_faults
        planned += [Planned(int(share * (index + chance.random())), kind) for index in range(num_faults)]
    return sorted(planned, key=lambda fault: (fault.num_completed, fault.kind))


class Faults:
    """Carries out a plan on a cluster; `counts` says what really happened."""

    def __init__(self, cluster: Cluster, server: str, seed: int) -> None:
        self._cluster = cluster
        self._server = server
        self._chance = Random(f"{seed}/faults")
        self._database_free = asyncio.Lock()
        self.counts: Counter[Kind] = Counter()

    async def follow(self, planned: list[Planned], num_completed: Callable[[], int]) -> None:
        """Carry out each fault when its time has come; some take a while, and others begin meanwhile."""
        async with asyncio.TaskGroup() as tasks:
            for fault in planned:
                while num_completed() < fault.num_completed:  # noqa: ASYNC110 - agents are processes: nobody can tell us
                    await asyncio.sleep(0.02)
                tasks.create_task(self._carry_out(fault.kind))

    async def crash_replicas(self) -> None:
        """Kill a replica every so often, for ever; the first one soon, so that short searches meet it, too."""
        loop = asyncio.get_running_loop()
        due_at = loop.time() + REPLICA_KILLED_SECONDS / 2
        while True:
            await asyncio.sleep(due_at - loop.time())
            due_at += REPLICA_KILLED_SECONDS
            replica = self._chance.choice(self._cluster.replicas)
            # Not while the database is away: a replica cannot start without it.
            async with self._database_free:
                assert replica.is_alive, f"a replica ended by itself: {replica.log}"
                await asyncio.to_thread(replica.stop, hard=True)
                self.counts[Kind.REPLICA_KILLED] += 1
                await asyncio.sleep(self._chance.uniform(*_DOWN_SECONDS))
                await asyncio.to_thread(replica.start)

    async def _carry_out(self, kind: Kind) -> None:
        match kind:
            case Kind.CHILD_KILLED:
                await self._signal_child(kind, signal.SIGKILL)
            case Kind.CHILD_STOPPED:
                pid = await self._signal_child(kind, signal.SIGSTOP)
                await self._stand_still()
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            case Kind.AGENT_KILLED:
                await self._crash_agent()
            case Kind.AGENT_STOPPED:
                agent = await self._signal_agent(kind, signal.SIGSTOP)
                await self._stand_still()
                agent.signal(signal.SIGCONT)
            case Kind.DATABASE_CRASHED:
                await self._crash_database()
            case Kind.REPLICA_KILLED:
                raise AssertionError("replicas are killed by the clock")

    async def _stand_still(self) -> None:
        await asyncio.sleep(self._chance.uniform(*_STOPPED_SECONDS))

    async def _signal_child(self, kind: Kind, number: int) -> int:
        """Signal the first training process that is found, of agents in a random order; its pid."""
        while True:
            for agent in self._shuffled():
                pid = agent.child()
                if pid is not None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
                        self.counts[kind] += 1
                        return pid
            await asyncio.sleep(0.005)

    async def _signal_agent(self, kind: Kind, number: int) -> Agent:
        """Signal an agent, one with a training process if there is one."""
        while True:
            for agent in sorted(self._shuffled(), key=lambda agent: agent.child() is None):
                if agent.signal(number):
                    self.counts[kind] += 1
                    return agent
            await asyncio.sleep(0.05)

    async def _crash_agent(self) -> None:
        agent = await self._signal_agent(Kind.AGENT_KILLED, signal.SIGKILL)
        while agent.status is None:  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.01)
        await asyncio.sleep(self._chance.uniform(*_DOWN_SECONDS))
        agent.start(self._server)

    async def _crash_database(self) -> None:
        async with self._database_free:
            await asyncio.to_thread(self._cluster.database.crash)
            self.counts[Kind.DATABASE_CRASHED] += 1
            await asyncio.sleep(self._chance.uniform(*_DOWN_SECONDS))
            await asyncio.to_thread(self._cluster.database.start)

    def _shuffled(self) -> list[Agent]:
        return self._chance.sample(self._cluster.agents, len(self._cluster.agents))
