"""Runs one search on a cluster under faults, and checks every promise at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import sqlalchemy as sa

from service.client import Client
from service.storage import tables
from service.storage.database import open_read_only
from tests.chaos.check import Known, violations
from tests.chaos.cluster import LEASE_SECONDS, STUDY, Cluster, cluster
from tests.chaos.faults import Faults, Kind, plan
from tests.chaos.ledger import read
from tests.chaos.proxy import Proxy, Rates
from tests.chaos.training import METRIC, NUM_STEPS
from worker.agent.outbox.outbox import Outbox

MAX_WASTE = 0.1
"""Steps that may be trained in vain, as a share of those that count."""
STALL_SECONDS = 120.0
"""Without a trial completed for so long, something hangs."""


class ChaosError(Exception):
    """It did not come to its end; says what was seen last."""


@dataclass
class Result:
    """What was promised and what broke it; what happened, and how much it cost."""

    num_trials: int
    seed: int
    violations: dict[str, list[str]]
    seconds: float
    steps_trained: int
    steps_counted: int
    faults: dict[Kind, int]
    messages: dict[str, int]
    refusals: dict[str, int]
    """What replicas answered instead of a reply, by the code of the problem."""
    attempts: dict[str, int]
    """How often attempts were moved, and where to."""

    @property
    def waste(self) -> float:
        """Steps that were trained and do not count, as a share of those that count."""
        return (self.steps_trained - self.steps_counted) / self.steps_counted

    @property
    def num_violations(self) -> int:
        return sum(len(found) for found in self.violations.values())


@dataclass
class Progress:
    """How far the search is, as the answers of the service tell it."""

    completed: set[str] = field(default_factory=set)
    moved_at: float = field(default_factory=time.monotonic)

    def heard(self, path: str, reply: bytes) -> None:
        """Take note of a trial that is completed."""
        if path.endswith("/finish") and b'"trial_state":"completed"' in reply:
            self.completed.add(path.split("/")[4])
            self.moved_at = time.monotonic()

    def num_completed(self) -> int:
        return len(self.completed)


async def play(
    directory: Path, num_trials: int, seed: int, tell: Callable[[int], None] = lambda _num_completed: None
) -> Result:
    """Carry a study of so many trials through all faults of the seed, and check every promise; `tell` hears how far.

    Raises:
        ChaosError: it did not come to its end.
    """
    progress = Progress()
    rates = Rates(late_seconds=(1.2 * LEASE_SECONDS, 2.5 * LEASE_SECONDS))
    with cluster(directory) as built:
        with Client(built.replicas[0].url) as client:
            client.create_study(spec(num_trials))
        ports = [replica.port for replica in built.replicas]
        proxy = Proxy(ports, Random(f"{seed}/proxy"), rates, progress.heard)
        async with proxy.serving() as port:
            server = f"http://127.0.0.1:{port}"
            faults = Faults(built, server, seed)
            began = time.monotonic()
            for agent in built.agents:
                agent.start(server)
            killing = asyncio.create_task(faults.crash_replicas())
            following = asyncio.create_task(faults.follow(plan(num_trials, seed), progress.num_completed))
            try:
                await _ended(built, progress, following, killing, tell)
            finally:
                for task in (killing, following):
                    task.cancel()
                await asyncio.gather(killing, following, return_exceptions=True)
            seconds = time.monotonic() - began
            await proxy.arrived()
        return _judge(built, num_trials, seed, seconds, faults, proxy)


def spec(num_trials: int) -> dict[str, Any]:
    """A study whose task the stub stands in for."""
    return {
        "name": STUDY,
        "objective": {"metric": METRIC, "direction": "maximize"},
        "task": {
            "train": {
                "data": {"name": "digits"},
                "model": {"name": "mlp"},
                "loss": {"name": "cross_entropy"},
                "optimizer": {"name": "adamw", "lr": 1e-3},
                "schedule": {"name": "constant"},
                "epochs": NUM_STEPS,
            }
        },
        "preflight": "off",
        "space": {"optimizer.lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True}},
        "sampler": {"name": "random", "seed": 1},
        "resource": {"name": "epoch", "max": NUM_STEPS},
        "budget": {"trials": num_trials},
    }


async def _ended(
    built: Cluster,
    progress: Progress,
    following: asyncio.Task[None],
    killing: asyncio.Task[None],
    tell: Callable[[int], None],
) -> None:
    """Wait until all faults have happened and every agent has seen the end of the study."""
    while not following.done() or any(agent.status is None for agent in built.agents):
        await asyncio.sleep(0.1)
        tell(progress.num_completed())
        for task in (following, killing):
            if task.done():
                task.result()  # raises what ended it
        for agent in built.agents:
            # One that was killed is started again; one that fails by itself is a fault of the agent.
            if agent.status not in {None, 0, -9}:
                raise ChaosError(f"{agent.name} ended with status {agent.status}; it said:\n{_tail(agent.log)}")
        if time.monotonic() - progress.moved_at > STALL_SECONDS:
            logs = [*(agent.log for agent in built.agents), *(replica.log for replica in built.replicas)]
            said = "\n".join(f"{log.name}:\n{_tail(log)}" for log in logs)
            raise ChaosError(f"nothing moves after {progress.num_completed()} trials\n{said}")
    tell(progress.num_completed())


def _judge(built: Cluster, num_trials: int, seed: int, seconds: float, faults: Faults, proxy: Proxy) -> Result:
    known = Known.of(read(agent.ledger for agent in built.agents))
    num_counted = num_trials * NUM_STEPS
    with open_read_only(built.database.url) as connection:
        found = violations(connection, known, num_trials, NUM_STEPS)
        attempts = _moves(connection)
    found["agents have told everything when they end"] = [
        f"{agent.name} still has something to tell" for agent in built.agents if not _is_told(agent.outbox)
    ]
    found["at most a tenth of the steps is trained in vain"] = (
        [f"{known.num_trained} steps were trained for {num_counted} that count"]
        if known.num_trained > (1 + MAX_WASTE) * num_counted
        else []
    )
    return Result(
        num_trials=num_trials,
        seed=seed,
        violations=found,
        seconds=seconds,
        steps_trained=known.num_trained,
        steps_counted=num_counted,
        faults=dict(faults.counts),
        messages=dict(proxy.counts),
        refusals=dict(proxy.refusals),
        attempts=attempts,
    )


def _moves(connection: sa.Connection) -> dict[str, int]:
    """How often attempts were moved, and where to; by their journal, as one that was lost may have come back."""
    journal = tables.journal.c
    events = sa.select(journal.kind, sa.func.count()).where(journal.kind.like("attempt_%")).group_by(journal.kind)
    return {kind.removeprefix("attempt_"): count for kind, count in connection.execute(events.order_by(journal.kind))}


def _is_told(path: Path) -> bool:
    outbox = Outbox(path)
    try:
        return outbox.is_empty()
    finally:
        outbox.close()


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8").splitlines()[-15:])
