"""One world: a study, replicas, workers, people and faults, all drawn from one seed, and the checks along the way."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import sqlalchemy as sa

from service import clock
from service.contract.lease import CheckpointRequest, FinishRequest, HeartbeatRequest, HeldLease, Outcome
from service.contract.problem import ErrorCode
from service.contract.report import Point, ReportRequest
from service.contract.study import EnqueueRequest, ExtendRequest, StudySpec
from service.domain.errors import DomainError
from service.usecases import studies
from service.usecases.enqueue import enqueue
from tests.simulation import faults as faulty
from tests.simulation.check import FINISHED, check_end
from tests.simulation.loop import SimulatedLoop
from tests.simulation.memory import locked, lost, memory
from tests.simulation.network import Network
from tests.simulation.record import Answer, Call, Record
from tests.simulation.replica import LIMITS, SKEW, SLUGGISH, Replica
from tests.simulation.watch import Watch
from tests.simulation.worker import Worker

BEGAN_AT = 1_700_000_000_000_000
"""The database's clock when a world begins; microseconds."""
FAULTY_SECONDS = 400.0
"""How long things go wrong; then everything must come to an end."""
PATIENCE_SECONDS = 4_000.0


@dataclass(frozen=True)
class Result:
    """What became of a world."""

    seed: int
    violations: list[str]
    num_trials: int
    num_attempts: int
    num_answers: int
    seconds: float
    """Simulated ones."""
    digest: str
    """Of the journal: equal for equal seeds."""


class World:
    """Everything that one seed decides; `run` plays it to its end."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.began_at = BEGAN_AT
        self.chance = Random(f"chance/{seed}")
        self._ids = Random(f"ids/{seed}")
        plan = Random(f"plan/{seed}")
        self.faults = faulty.drawn(plan)
        self.spec = _spec(plan, seed)
        self.record = Record()
        self.network = Network(self)
        skew = self.faults.skew_seconds
        self.replicas = [
            Replica(self, plan.uniform(-skew, skew), plan.choice([0.0, 3.0]) if self.faults.stall else 0.0)
            for _ in range(plan.choice([1, 2, 2, 3]))
        ]
        self.workers = [Worker(self, f"w{index}") for index in range(plan.randint(2, 5))]
        self.violations: list[str] = []
        self.is_database_up = True
        self._people = plan.sample(["pause", "enqueue", "enqueue", "extend", "stop"], plan.choice([0, 0, 1, 2, 3]))
        self._loop = SimulatedLoop(self._latency, self._execute)
        self.watch = Watch(self)

    def run(self) -> Result:
        """Play the world and say what was wrong with it."""
        memory().clear()
        memory().on_statement, memory().on_commit = self._maybe_lose, self._maybe_refuse
        with self._own_clock():
            try:
                asyncio.set_event_loop(self._loop)
                self._loop.run_until_complete(self._play())
            finally:
                self._end_tasks()
                asyncio.set_event_loop(None)
                self._loop.close()
        memory().on_statement = memory().on_commit = lambda: None
        check_end(self)
        rows = memory().rows("SELECT revision, ordinal, at, kind, trial_id, attempt, data FROM journal ORDER BY 1, 2")
        counts = memory().rows("SELECT count(*), coalesce(sum(num_attempts), 0) FROM trial")[0]
        return Result(
            seed=self.seed,
            violations=self.violations,
            num_trials=counts[0],
            num_attempts=counts[1],
            num_answers=len(self.record.answers),
            seconds=self._loop.time(),
            digest=hashlib.sha256(repr(rows).encode()).hexdigest()[:16],
        )

    def now(self) -> int:
        """The database's clock."""
        return BEGAN_AT + round(self._loop.time() * 1_000_000)

    def new_id(self) -> str:
        return f"{self._ids.getrandbits(128):032x}"

    def blame(self, violation: str) -> None:
        """Say what must not be."""
        self.violations.append(f"at {self._loop.time():.1f} s: {violation}")

    def answered(self, answer: Answer) -> None:
        """A replica has answered a call, whether or not the answer arrives."""
        self.record.answers.append(answer)
        self.watch.answer(answer)

    async def _play(self) -> None:
        for replica in self.replicas:
            replica.start()
        while True:
            try:
                view = await studies.create_study(self.replicas[0].context, self.spec)
                self.watch.study_id = view.id
                break
            except sa.exc.OperationalError:
                continue
            except DomainError as error:
                if error.code is not ErrorCode.STUDY_EXISTS:
                    raise
                # It was created, but the answer was lost.
                self.watch.study_id = memory().rows("SELECT id FROM study")[0][0]
                break
        for worker in self.workers:
            worker.start()
        troubles = [asyncio.ensure_future(trouble) for trouble in self._troubles()]
        await self._wait_until(FAULTY_SECONDS)
        for trouble in troubles:
            trouble.cancel()
        await self._mend()
        await self._wait_until(FAULTY_SECONDS + PATIENCE_SECONDS)

    async def _wait_until(self, seconds: float) -> None:
        """Let the world go on until then, or until it is over."""
        while self._loop.time() < seconds and not self._is_over():  # noqa: ASYNC110 - simulated time costs nothing
            await asyncio.sleep(5)

    def _is_over(self) -> bool:
        """Nothing is left to do, to send, or on its way."""
        if self.violations:
            return True
        (state,) = memory().rows("SELECT state FROM study")[0]
        is_idle = all(worker.is_idle for worker in self.workers)
        return state in FINISHED and is_idle and not self.network.num_under_way and self.is_database_up

    async def _mend(self) -> None:
        """End all faults: what is down comes up, a person resumes what was paused."""
        self.faults = faulty.NONE
        self._database(is_up=True)
        for replica in self.replicas:
            if not replica.is_up:
                replica.start()
        self.watch.note_service()
        for worker in self.workers:
            worker.crash()
            worker.pause(0)
            worker.start()
        await self._do("resume")

    def _troubles(self) -> Iterator[Any]:
        faults = self.faults
        for replica in self.replicas:
            yield self._often(faults.replica_crash_seconds, lambda replica=replica: self._crash(replica))
        yield self._often(faults.outage_seconds, self._outage)
        for worker in self.workers:
            yield self._often(faults.worker_crash_seconds, lambda worker=worker: self._lose(worker))
            yield self._often(faults.worker_pause_seconds, lambda worker=worker: self._pause(worker))
        for deed in self._people:
            yield self._person(deed)
        yield self._foreigner()

    async def _often(self, mean_seconds: float, trouble: Callable[[], Any]) -> None:
        while mean_seconds:
            await asyncio.sleep(self.chance.expovariate(1 / mean_seconds))
            await trouble()

    async def _crash(self, replica: Replica) -> None:
        if replica.is_up:
            replica.crash()
            self.watch.note_service()
            await asyncio.sleep(self.chance.uniform(0.1, 30))
            replica.start()
            self.watch.note_service()

    async def _outage(self) -> None:
        self._database(is_up=False)
        await asyncio.sleep(self.chance.choice([self.chance.uniform(1, 10), self.chance.uniform(30, 200)]))
        self._database(is_up=True)

    def _database(self, *, is_up: bool) -> None:
        self.is_database_up = is_up
        self.watch.note_service()

    async def _lose(self, worker: Worker) -> None:
        worker.crash()
        await asyncio.sleep(self.chance.choice([self.chance.uniform(1, 20), self.chance.uniform(60, 200)]))
        worker.start()

    async def _pause(self, worker: Worker) -> None:
        # Just as its lease has run out, the reaper and the next sign of life meet.
        (expires_at,) = memory().rows("SELECT max(expires_at) FROM lease WHERE worker = ?", worker.name)[0]
        left_seconds = max(0.0, ((expires_at or 0) - self.now()) / 1e6)
        around = left_seconds + self.chance.uniform(0, LIMITS.reaper_seconds)
        seconds = self.chance.choice([self.chance.uniform(1, 20), around, around, self.chance.uniform(60, 200)])
        worker.pause(seconds)
        await asyncio.sleep(seconds)

    async def _person(self, deed: str) -> None:
        await asyncio.sleep(self.chance.uniform(5, 150))
        await self._do(deed)
        if deed == "pause":
            await asyncio.sleep(self.chance.uniform(5, 100))
            await self._do("resume")

    async def _do(self, deed: str) -> None:
        name = self.spec.name
        for _ in range(20):
            up = [replica for replica in self.replicas if replica.is_up]
            if not up:
                return
            context = self.chance.choice(up).context
            try:
                match deed:
                    case "pause":
                        await studies.pause_study(context, name, "")
                    case "resume":
                        await studies.resume_study(context, name)
                    case "stop":
                        await studies.stop_study(context, name, "")
                    case "extend":
                        budget = self.spec.budget.trials or 0
                        await studies.extend_study(context, name, ExtendRequest(trials=budget + 2))
                    case "enqueue":
                        rate = self.chance.choice([0.001, 0.01])
                        await enqueue(context, name, EnqueueRequest(parameters={"lr": rate}))
            except sa.exc.OperationalError:
                continue
            except DomainError:
                return  # the study is not in a state for that, or an answer was lost and it is done already
            return

    async def _foreigner(self) -> None:
        """Somebody who guesses nonces: whatever is sent in the name of an attempt must be refused."""
        while True:
            await asyncio.sleep(self.chance.uniform(5, 60))
            attempts = memory().rows("SELECT trial_id, number, num_reports, last_step FROM attempt ORDER BY 1, 2")
            up = [replica for replica in self.replicas if replica.is_up]
            if not attempts or not up:
                continue
            trial, number, num_reports, last_step = self.chance.choice(attempts)
            nonce, step = self.new_id(), (last_step or 0) + 1
            points = [Point(step=step, metrics={"loss": -1.0})]
            request = self.chance.choice(
                [
                    FinishRequest(nonce=nonce, outcome=Outcome(result="succeeded")),
                    ReportRequest(nonce=nonce, sequence=num_reports + 1, points=points),
                    CheckpointRequest(nonce=nonce, step=last_step or 0, sha256="f" * 64, size=1, uri="x"),
                    HeartbeatRequest(worker="w0", leases=[HeldLease(trial=trial, attempt=number, nonce=nonce)]),
                ]
            )
            self.chance.choice(up).serve(Call(request, (trial, number), is_foreign=True), lambda _: None)

    def _latency(self) -> float:
        if self.chance.random() < self.faults.stall:
            return self.chance.uniform(0.5, 15)
        usual = self.chance.choice([0.0, self.chance.uniform(0.001, 0.02), self.chance.uniform(0.001, 0.3)])
        return usual + self.chance.uniform(0, SLUGGISH.get())

    def _execute(self, executor: Any, work: Callable[[], Any]) -> Any:
        """Run what a replica handed to a thread of its own; here the database is reached, or not."""
        if executor is None:
            return work()
        if not self.is_database_up:
            raise lost("BEGIN")
        result = work()
        self.watch.look()
        if self.chance.random() < self.faults.commit_unknown:
            raise lost("COMMIT")
        return result

    def _maybe_lose(self) -> None:
        if self.chance.random() < self.faults.statement_lost:
            raise lost("statement")

    def _maybe_refuse(self) -> None:
        if self.chance.random() < self.faults.commit_refused:
            raise lost("COMMIT")
        if self.chance.random() < self.faults.conflict:
            raise locked("COMMIT")

    @contextmanager
    def _own_clock(self) -> Iterator[None]:
        """The clock of a replica's host is not the database's: whoever reads it gets another time."""
        real = clock.monotonic
        clock.monotonic = lambda: self.now() / 1_000_000 + SKEW.get()
        try:
            yield
        finally:
            clock.monotonic = real

    def _end_tasks(self) -> None:
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


def _spec(plan: Random, seed: int) -> StudySpec:
    num_trials = plan.randint(4, 10)
    sampler: dict[str, Any] = plan.choice(
        [
            {"name": "random", "seed": seed},
            {"name": "grid", "seed": seed, "shuffle": True},
            {"name": "coarse_to_fine", "seed": seed},
            {"name": "coarse_to_fine", "seed": seed, "stages": [{"trials": 2}, {"trials": num_trials - 2}]},
        ]
    )
    if Random(f"tpe/{seed}").random() < 0.25:  # the one whose every suggestion depends on all of the history
        sampler = {"name": "tpe", "seed": seed, "startup_trials": 2}
    lr = {"type": "float", "low": 1e-4, "high": 1e-1, "log": True}
    if sampler["name"] == "grid":
        lr = {"type": "categorical", "choices": [0.001, 0.003, 0.01, 0.03, 0.1, 0.0003, 0.0001]}
    return StudySpec.model_validate(
        {
            "name": "simulated",
            "objective": {"metric": "loss", "direction": "minimize", "value": plan.choice(["last", "best"])},
            "space": {"lr": lr},
            "sampler": sampler,
            "pruner": plan.choice([{"name": "none"}, {"name": "median", "startup_trials": 2, "warmup_steps": 1}]),
            "resource": {"name": "step", "max": plan.randint(3, 8)},
            "budget": {"trials": num_trials},
            "retry_failed": plan.choice([None, 0, 1]),
        }
    )


def play(seed: int) -> Result:
    """Run one world; what is wrong with the service is in the result."""
    return World(seed).run()
