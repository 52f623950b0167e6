"""A simulated worker that follows the agent's protocol: stored claim ids, an ordered outbox, obeyed verdicts."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from service.contract.attempt import FailureClass, FinishRequest, HeartbeatReply, HeartbeatRequest, HeldLease, Outcome
from service.contract.claim import ClaimRequest, Grant, NoTrial
from service.contract.problem import ErrorCode
from service.contract.report import Action, Point, Verdict, to_wire
from service.domain.errors import DomainError
from tests.simulation.client_record import Call, Token
from tests.simulation.network import Unreachable
from tests.simulation.outbox import Disk, Entry, HeldAttempt
from tests.simulation.plan import WorkerPlan
from tests.simulation.replica import LIMITS, Failed
from tests.simulation.training import ending_before, middles_before, value_at

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario

CHECKPOINT_STEPS = 2
"""A checkpoint is saved every so many steps."""


class Worker:
    """An agent with some slots: each claims and trains, and one sends and one gives signs of life for all of them."""

    def __init__(self, world: Scenario, plan: WorkerPlan) -> None:
        self._world = world
        self.plan = plan
        self.disk = Disk()
        self._tasks: list[asyncio.Task[None]] = []
        self._orders: dict[Token, Action] = {}
        self._paused_until = 0.0
        self._filled = asyncio.Event()

    @property
    def is_idle(self) -> bool:
        return not self.disk.held

    def start(self) -> None:
        """Begin, or begin again with what an earlier life left on the disk."""
        self._orders = {}
        for attempt in self.disk.held.values():
            if not attempt.has_ended:
                self._end(attempt, Outcome(result="released", failure=FailureClass.PREEMPTED))
        self._filled.set()
        work = [self._slot(slot) for slot in self.plan.slots]
        self._tasks = [self._spawn(each) for each in (*work, self._send(), self._give_signs_of_life())]

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

    async def _slot(self, slot: str) -> None:
        while True:
            reply = await self._claim(slot)
            if isinstance(reply, NoTrial):
                await self._sleep(reply.retry_seconds * self._world.chance.uniform(1, 4))
                continue
            token = reply.trial, reply.attempt, reply.nonce
            attempt = self.disk.held.setdefault(token, HeldAttempt(reply))
            if not attempt.has_ended:
                await self._train(attempt)
            await self._sleep(self._world.chance.uniform(0, 2))

    async def _claim(self, slot: str) -> Grant | NoTrial:
        claim_ids, plan = self.disk.claim_ids, self.plan
        while True:
            # Persisted before it is sent: a reply that was lost, or a life that ended, costs no trial.
            request_id = claim_ids.setdefault(slot, self._world.new_id())
            self._world.record.request_ids.add(request_id)
            request = ClaimRequest(
                request_id=request_id,
                worker=plan.name,
                slot=slot,
                host=plan.host,
                capabilities=plan.capabilities,
                studies=list(plan.studies) if plan.studies is not None else None,
            )
            try:
                reply = await self._ask(Call(request))
            except (Unreachable, Failed, DomainError):
                await self._sleep(self._world.chance.uniform(0.5, 5))
                continue
            assert isinstance(reply, Grant | NoTrial)
            del claim_ids[slot]
            return reply

    async def _train(self, attempt: HeldAttempt) -> None:
        world, grant, token = self._world, attempt.grant, attempt.token
        first = grant.resume.step + 1 if grant.resume else 1
        assert grant.run_until is not None
        pace = world.chance.uniform(1, 10)
        for step in range(first, grant.run_until + 1):
            await self._sleep(pace * world.chance.uniform(0.5, 1.5))
            if token not in self.disk.held:
                return  # dropped: somebody else has the trial, or it is over
            if self._orders.get(token) is Action.STOP:
                self._end(attempt, Outcome(result="pruned"))
                return
            for batch in middles_before(world.seed, token, grant, step):
                attempt.entries.append(Entry(checkpoint=(step - 1, batch)))
                self._filled.set()
            if (end := ending_before(world, self.plan, grant, step)) is not None:
                self._end(attempt, end)
                return
            self._report(attempt, step)
        self._end(attempt, Outcome(result="succeeded"))

    def _report(self, attempt: HeldAttempt, step: int) -> None:
        value = value_at(self._world.seed, attempt.token, attempt.grant.parameters["lr"], step)
        self._world.record.produced.setdefault(attempt.token, {})[step] = value
        point = Point(step=step, metrics={"loss": to_wire(value)})
        attempt.report(point, is_new_batch=self._world.chance.random() < 0.5)
        if step % CHECKPOINT_STEPS == 0:
            attempt.entries.append(Entry(checkpoint=(step, 0)))
        self._filled.set()

    def _end(self, attempt: HeldAttempt, outcome: Outcome) -> None:
        self._world.record.outcomes.setdefault(attempt.token, []).append(outcome.model_dump(mode="json"))
        attempt.entries.append(Entry(outcome=outcome))
        attempt.has_ended = True
        self._filled.set()

    async def _send(self) -> None:
        """Empty the outbox: in order within an attempt, attempts in any order; what fails is sent again."""
        while True:
            due = [attempt for attempt in self.disk.held.values() if attempt.entries]
            if not due:
                self._filled.clear()
                await self._filled.wait()
                await self._sleep(self._world.chance.uniform(0, 0.2))
                continue
            attempt = self._world.chance.choice(due)
            call, num_entries = attempt.next_call(self._world.chance)
            try:
                reply = await self._ask(call)
            except (Unreachable, Failed):
                await self._sleep(self._world.chance.uniform(0.5, 5))
            except DomainError as error:
                if error.code is ErrorCode.BUSY:
                    await self._sleep(self._world.chance.uniform(0.5, 5))
                elif not call.is_hasty:
                    self._drop(attempt.token)
            else:
                if not call.is_hasty:  # such a one is sent once more, when its turn comes
                    self._settle(attempt, num_entries, call, reply)

    def _settle(self, attempt: HeldAttempt, num_entries: int, call: Call, reply: object) -> None:
        """A call was answered: forget what it said, and do as it is told."""
        del attempt.entries[:num_entries]
        if isinstance(reply, Verdict):
            self._orders[attempt.token] = reply.action
        if isinstance(call.request, FinishRequest):
            self._drop(attempt.token)

    def _drop(self, token: Token) -> None:
        self.disk.held.pop(token, None)

    async def _give_signs_of_life(self) -> None:
        while True:
            await self._sleep(LIMITS.heartbeat_seconds)
            held = list(self.disk.held.values())
            if not held:
                continue
            leases = [
                HeldLease(trial=each.grant.trial, attempt=each.grant.attempt, nonce=each.grant.nonce) for each in held
            ]
            try:
                reply = await self._ask(Call(HeartbeatRequest(worker=self.plan.name, leases=leases)))
            except (Unreachable, Failed, DomainError):
                continue
            assert isinstance(reply, HeartbeatReply)
            for attempt, status in zip(held, reply.leases, strict=True):
                if not status.held and not attempt.has_ended:
                    self._drop(attempt.token)
                elif status.order is Action.STOP:
                    self._orders[attempt.token] = Action.STOP
