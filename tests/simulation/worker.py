"""A simulated worker that keeps the agent's protocol: persisted claim ids, an outbox sent in order, obeyed verdicts."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from service.contract.base import TaskKind
from service.contract.lease import (
    Capabilities,
    CheckpointRequest,
    ClaimRequest,
    FailureClass,
    FinishRequest,
    Grant,
    HeartbeatReply,
    HeartbeatRequest,
    HeldLease,
    Nothing,
    Outcome,
)
from service.contract.report import Action, Point, ReportRequest, Verdict, to_wire
from service.domain.errors import DomainError
from tests.simulation.network import Unreachable
from tests.simulation.record import Call, Key
from tests.simulation.replica import LIMITS, Failed

if TYPE_CHECKING:
    from tests.simulation.world import World

CHECKPOINT_STEPS = 2
"""A checkpoint is saved every so many steps."""


@dataclass
class Entry:
    """One message that waits in the outbox: a batch of points, a checkpoint of a step, or how the attempt ended."""

    sequence: int = 0
    points: list[Point] = field(default_factory=list)
    checkpoint: int | None = None
    outcome: Outcome | None = None
    was_sent: bool = False


@dataclass
class HeldAttempt:
    """An attempt on the worker's disk: its grant and what is still to be sent."""

    grant: Grant
    entries: list[Entry] = field(default_factory=list)
    num_batches: int = 0

    @property
    def key(self) -> Key:
        return self.grant.trial, self.grant.attempt

    @property
    def has_ended(self) -> bool:
        return any(entry.outcome for entry in self.entries)


@dataclass
class Disk:
    """What outlives the agent."""

    claim_id: str | None = None
    held: dict[Key, HeldAttempt] = field(default_factory=dict)


class Worker:
    """An agent with one slot: claims, trains, sends and gives signs of life as four tasks that a crash ends."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self.name = name
        self.disk = Disk()
        self._tasks: list[asyncio.Task[None]] = []
        self._orders: dict[Key, Action] = {}
        self._paused_until = 0.0

    @property
    def is_idle(self) -> bool:
        return not self.disk.held

    def start(self) -> None:
        """Begin, or begin again with what an earlier life left on the disk."""
        self._orders = {}
        for attempt in self.disk.held.values():
            if not attempt.has_ended:
                self._end(attempt, Outcome(result="released", failure=FailureClass.PREEMPTED))
        self._tasks = [self._spawn(work) for work in (self._slot(), self._send(), self._give_signs_of_life())]

    def crash(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks = []

    def pause(self, seconds: float) -> None:
        """Stand still, as under SIGSTOP or on a host that sleeps."""
        self._paused_until = asyncio.get_running_loop().time() + seconds

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(work)

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._awake()

    async def _awake(self) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < self._paused_until:  # noqa: ASYNC110 - time is simulated, and a pause may be prolonged
            await asyncio.sleep(self._paused_until - loop.time())

    async def _ask(self, call: Call) -> Any:
        await self._awake()
        try:
            return await self._world.network.ask(call)
        finally:
            await self._awake()

    async def _slot(self) -> None:
        while True:
            reply = await self._claim()
            if isinstance(reply, Nothing):
                await self._sleep(reply.retry_seconds * self._world.chance.uniform(1, 4))
                continue
            attempt = self.disk.held.setdefault((reply.trial, reply.attempt), HeldAttempt(reply))
            if not attempt.has_ended:
                await self._train(attempt)
            await self._sleep(self._world.chance.uniform(0, 2))

    async def _claim(self) -> Grant | Nothing:
        disk = self.disk
        while True:
            # Persisted before it is sent: a reply that was lost, or a life that ended, costs no trial.
            disk.claim_id = disk.claim_id or self._world.new_id()
            self._world.record.request_ids.add(disk.claim_id)
            request = ClaimRequest(
                request_id=disk.claim_id,
                worker=self.name,
                host=self.name,
                capabilities=Capabilities(tasks=[TaskKind.EXTERNAL]),
                studies=[self._world.spec.name],
            )
            try:
                reply = await self._ask(Call(request))
            except (Unreachable, Failed, DomainError):
                await self._sleep(self._world.chance.uniform(0.5, 5))
                continue
            assert isinstance(reply, Grant | Nothing)
            disk.claim_id = None
            return reply

    async def _train(self, attempt: HeldAttempt) -> None:
        world, grant, key = self._world, attempt.grant, attempt.key
        first = grant.resume.step + 1 if grant.resume else 1
        assert grant.run_until is not None
        pace = world.chance.uniform(1, 10)
        for step in range(first, grant.run_until + 1):
            await self._sleep(pace * world.chance.uniform(0.5, 1.5))
            if key not in self.disk.held:
                return  # dropped: somebody else has the trial, or it is over
            if self._orders.get(key) is Action.STOP:
                self._end(attempt, Outcome(result="pruned"))
                return
            if world.chance.random() < world.faults.child_crash:
                failure = FailureClass.PROCESS_KILLED if world.chance.random() < 0.8 else FailureClass.USER_EXCEPTION
                self._end(attempt, Outcome(result="failed", failure=failure))
                return
            self._report(attempt, step)
            if step % CHECKPOINT_STEPS == 0:
                attempt.entries.append(Entry(checkpoint=step))
        self._end(attempt, Outcome(result="succeeded"))

    def _report(self, attempt: HeldAttempt, step: int) -> None:
        value = value_at(self._world.seed, attempt.key, attempt.grant.parameters["lr"], step)
        self._world.record.produced.setdefault(attempt.key, {})[step] = value
        point = Point(step=step, metrics={"loss": to_wire(value)})
        last = attempt.entries[-1] if attempt.entries else None
        if last and last.points and not last.was_sent and self._world.chance.random() < 0.5:
            last.points.append(point)
        else:
            attempt.num_batches += 1
            attempt.entries.append(Entry(sequence=attempt.num_batches, points=[point]))

    def _end(self, attempt: HeldAttempt, outcome: Outcome) -> None:
        self._world.record.outcomes.setdefault(attempt.key, []).append(outcome.model_dump(mode="json"))
        attempt.entries.append(Entry(outcome=outcome))

    async def _send(self) -> None:
        """Empty the outbox: in order within an attempt, attempts in any order; what fails is sent again."""
        while True:
            due = [attempt for attempt in self.disk.held.values() if attempt.entries]
            if not due:
                await self._sleep(0.2)
                continue
            attempt = self._world.chance.choice(due)
            call, num_entries = self._next(attempt)
            try:
                reply = await self._ask(call)
            except (Unreachable, Failed):
                await self._sleep(self._world.chance.uniform(0.5, 5))
            except DomainError:
                if not call.is_hasty and attempt.key in self.disk.held:
                    self._drop(attempt.key)
            else:
                if call.is_hasty:
                    continue  # it is sent once more, when its turn comes
                del attempt.entries[:num_entries]
                if isinstance(reply, Verdict):
                    self._orders[attempt.key] = reply.action
                if isinstance(call.request, FinishRequest):
                    self._drop(attempt.key)

    def _next(self, attempt: HeldAttempt) -> tuple[Call, int]:
        """The next call of an attempt, and how many entries its success settles."""
        chance, key, nonce = self._world.chance, attempt.key, attempt.grant.nonce
        saved = next((index for index, entry in enumerate(attempt.entries) if entry.checkpoint is not None), None)
        if saved is not None:
            step = attempt.entries[saved].checkpoint
            assert step is not None
            before = attempt.entries[:saved]
            if chance.random() < 0.1:
                return Call(_checkpoint(nonce, step, []), key, is_hasty=bool(before)), 1
            if not before or chance.random() < 0.5:
                for entry in before:
                    entry.was_sent = True
                return Call(_checkpoint(nonce, step, [_batch(nonce, entry) for entry in before]), key), saved + 1
        head = attempt.entries[0]
        head.was_sent = True
        if head.outcome is not None:
            return Call(FinishRequest(nonce=nonce, outcome=head.outcome), key), 1
        return Call(_batch(nonce, head), key), 1

    def _drop(self, key: Key) -> None:
        self.disk.held.pop(key, None)

    async def _give_signs_of_life(self) -> None:
        while True:
            await self._sleep(LIMITS.heartbeat_seconds)
            leases = [
                HeldLease(trial=held.grant.trial, attempt=held.grant.attempt, nonce=held.grant.nonce)
                for held in self.disk.held.values()
            ]
            if not leases:
                continue
            try:
                reply = await self._ask(Call(HeartbeatRequest(worker=self.name, leases=leases)))
            except (Unreachable, Failed, DomainError):
                continue
            assert isinstance(reply, HeartbeatReply)
            for status in reply.leases:
                key = status.trial, status.attempt
                attempt = self.disk.held.get(key)
                if attempt is not None and not status.held and not attempt.has_ended:
                    self._drop(key)
                elif status.order is Action.STOP:
                    self._orders[key] = Action.STOP


def value_at(seed: int, key: Key, rate: Any, step: int) -> float:
    """What an attempt's training measures at a step: a curve of its own, now and then one that diverges."""
    own = Random(f"{seed}/{key}")
    height, diverges_at = own.uniform(0, 1), own.choice([None] * 15 + [3])
    if diverges_at is not None and step >= diverges_at:
        return math.nan
    return height + abs(math.log10(float(rate)) + 2.5) + 1 / step


def _batch(nonce: str, entry: Entry) -> ReportRequest:
    return ReportRequest(nonce=nonce, sequence=entry.sequence, points=list(entry.points))


def _checkpoint(nonce: str, step: int, reports: list[ReportRequest]) -> CheckpointRequest:
    return CheckpointRequest(
        nonce=nonce, step=step, sha256=f"{step:064x}", size=1, uri=f"memory:{step}", reports=reports
    )
