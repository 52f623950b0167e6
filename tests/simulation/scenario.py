"""One scenario, played from its seed in simulated time, with its checks."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

from service import clock
from service.usecases.context import Context
from service.usecases.daemon_threads import DaemonThreads
from tests.simulation import faults as faulty
from tests.simulation import plan, users
from tests.simulation.client_record import Answer, Record
from tests.simulation.loop import SimulatedLoop
from tests.simulation.memory import locked, lost, memory
from tests.simulation.network import Network
from tests.simulation.oracles import database_view
from tests.simulation.oracles.efficiency import Costs
from tests.simulation.oracles.final_state import check_end
from tests.simulation.oracles.replies import Answers
from tests.simulation.oracles.transactions import Watch
from tests.simulation.outages import troubles
from tests.simulation.replica import SKEW, SLUGGISH, Replica
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
    events: frozenset[str]
    """The kinds of everything that its journals tell."""
    digest: str
    """Of the journal: equal for equal seeds."""


class _Errors(logging.Handler):
    """Passes what is logged as an error to a function."""

    def __init__(self, blame: Callable[[str], None]) -> None:
        super().__init__(logging.ERROR)
        self._blame = blame

    def emit(self, record: logging.LogRecord) -> None:
        self._blame(f"the service logged an error: {record.getMessage()}")


class Scenario:
    """Everything that one seed decides; `run` plays it to its end."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.began_at = BEGAN_AT
        self.chance = Random(f"chance/{seed}")
        self._ids = Random(f"ids/{seed}")
        self.plan = plan.drawn(seed)
        self.faults = self.plan.faults
        self.broken = set(self.plan.broken)
        """Studies whose code fails."""
        self.bad_hosts: set[str] = set()
        self.record = Record()
        self.network = Network(self)
        self.replicas = [Replica(self, each) for each in self.plan.replicas]
        self.workers = [Worker(self, each) for each in self.plan.workers]
        self.worker_plans = {each.name: each for each in self.plan.workers}
        self.violations: list[str] = []
        self.is_database_up = True
        self.is_connected = True
        """The database is the one that replicas reach; not while it is being restored."""
        self.restorer: Context | None = None
        """Who alone reaches it meanwhile."""
        self._loop = SimulatedLoop(self._latency, self._execute)
        self.watch = Watch(self)
        self.answers = Answers(self)
        self.costs = Costs(self)

    def run(self) -> Result:
        """Play the world and say what was wrong with it."""
        memory().clear()
        memory().on_statement, memory().on_commit = self._maybe_lose, self._maybe_refuse
        with self._own_clock(), self._blaming_errors():
            try:
                asyncio.set_event_loop(self._loop)
                self._loop.run_until_complete(self._play())
            finally:
                self._end_tasks()
                asyncio.set_event_loop(None)
                self._loop.close()
        memory().on_statement = memory().on_commit = lambda: None
        check_end(self)
        rows = database_view.rows(
            "SELECT study_id, revision, ordinal, at, kind, attempt, data FROM journal ORDER BY 1, 2, 3"
        )
        ((num_trials, num_attempts),) = database_view.rows("SELECT count(*), coalesce(sum(num_attempts), 0) FROM trial")
        return Result(
            seed=self.seed,
            violations=self.violations,
            num_trials=num_trials,
            num_attempts=num_attempts,
            num_answers=self.record.num_answers,
            seconds=self._loop.time(),
            events=frozenset(row[4] for row in rows),
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
        self.record.answered(answer)
        self.answers.judge(answer)

    @property
    def is_served(self) -> bool:
        """Whether anybody can be answered."""
        return self.is_database_up and self.is_connected and any(replica.is_up for replica in self.replicas)

    def any_context(self) -> Context | None:
        """Some replica that is up."""
        up = [replica.context for replica in self.replicas if replica.is_up]
        return self.chance.choice(up) if up else None

    def set_database(self, *, is_up: bool) -> None:
        """The database goes away or comes back."""
        self.is_database_up = is_up
        self.watch.note_service()

    def disconnect(self) -> None:
        """The database is gone."""
        self.is_connected = False
        self.watch.note_service()

    def reconnect(self) -> None:
        """It is restored."""
        self.is_connected, self.restorer = True, None
        self.watch.note_service()

    async def _play(self) -> None:
        for replica in self.replicas:
            replica.start()
        await users.install(self)
        for spec in self.plan.specs.values():
            await users.create(self, spec)
        for worker in self.workers:
            worker.start()
        lasting = asyncio.ensure_future(users.look_after(self))
        passing = [asyncio.ensure_future(each) for each in (*troubles(self), *users.deeds(self))]
        await self._wait_until(FAULTY_SECONDS)
        while not self.is_connected:  # noqa: ASYNC110 - as below
            await asyncio.sleep(1)
        for each in passing:
            each.cancel()
        await self._mend()
        await self._wait_until(FAULTY_SECONDS + PATIENCE_SECONDS)
        lasting.cancel()

    async def _wait_until(self, seconds: float) -> None:
        """Let the world go on until then, or until it is over."""
        while self._loop.time() < seconds and not self._is_over():  # noqa: ASYNC110 - simulated time costs nothing
            await asyncio.sleep(5)

    def _is_over(self) -> bool:
        """Nothing is left to do, to send, or on its way."""
        if self.violations:
            return True
        if not self.is_served or self.network.num_under_way:
            return False
        if not all(worker.is_idle for worker in self.workers):
            return False
        return not database_view.rows("SELECT 1 FROM study WHERE state NOT IN ('completed', 'stopped') LIMIT 1")

    async def _mend(self) -> None:
        """End all faults: what is down comes up, a person resumes what was paused."""
        self.faults = faulty.NONE
        self.bad_hosts.clear()
        self.set_database(is_up=True)
        for replica in self.replicas:
            if not replica.is_up:
                replica.start()
        self.watch.note_service()
        for worker in self.workers if self.plan.faults != faulty.NONE else ():
            worker.crash()
            worker.pause(0)
            worker.start()
        await users.resume_all(self)

    def _latency(self) -> float:
        if self.chance.random() < self.faults.stall:
            return self.chance.uniform(0.5, 15)
        usual = self.chance.choice([0.0, self.chance.uniform(0.001, 0.02), self.chance.uniform(0.001, 0.3)])
        return usual + self.chance.uniform(0, SLUGGISH.get())

    def _execute(self, executor: Any, work: Callable[[], Any]) -> Any:
        """Run what a replica handed to a thread of its own; here the database is reached, or not."""
        if executor is None or isinstance(executor, DaemonThreads):
            return work()
        if not self.is_database_up or not self._reaches(executor):
            raise lost("BEGIN")
        result = work()
        self.watch.look()
        self.costs.look()
        if self.chance.random() < self.faults.commit_unknown:
            raise lost("COMMIT")
        return result

    def _reaches(self, executor: Any) -> bool:
        """Whether the database is there for whoever uses this executor."""
        if self.restorer is None:
            return self.is_connected
        return executor in {
            self.restorer.database.writing,
            self.restorer.database.reading,
            self.restorer.database.viewing,
        }

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

    @contextmanager
    def _blaming_errors(self) -> Iterator[None]:
        """Blame each error that the service logs: isolation keeps an exception from callers, and only logs it."""
        handler, logger = _Errors(self.blame), logging.getLogger("service")
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)

    def _end_tasks(self) -> None:
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


def play(seed: int) -> Result:
    """Run one world; what is wrong with the service is in the result."""
    return Scenario(seed).run()
