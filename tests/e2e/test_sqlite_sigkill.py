"""The service on SQLite, killed under load: the file stays intact, and every acknowledged write is there."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest
import sqlalchemy as sa

from service.client import Client
from service.client.errors import ServiceFailure, ServiceUnreachable
from service.contract.attempt import FinishReply, FinishRequest, Outcome
from service.contract.base import TaskKind
from service.contract.capabilities import Capabilities
from service.contract.claim import ClaimRequest, Grant
from service.contract.report import Point, ReportRequest, Verdict
from service.contract.trial import TrialView
from service.storage import tables
from service.storage.database import open_read_only
from service.storage.fsck.invariants import check
from tests.support.service import Service, running_service
from tests.support.sizes import size
from tests.worker.waiting import eventually

NUM_ROUNDS = int(os.environ.get("ASSAYER_TEST_SIGKILLS") or size(ci=5, full=20))
"""`make sigkill` plays a hundred."""
NUM_CLIENTS = 4
NUM_STEPS = 3

T = TypeVar("T")


@dataclass
class Answers:
    """What the service has answered, and so promised, to all clients together."""

    claims: dict[str, Grant] = field(default_factory=dict)
    reports: dict[tuple[str, int, int], tuple[float, Verdict]] = field(default_factory=dict)
    finishes: dict[str, FinishReply] = field(default_factory=dict)
    num_repeated: Counter[str] = field(default_factory=Counter)
    """Requests that went unanswered, and were sent again once the service was back."""

    def __len__(self) -> int:
        return len(self.claims) + len(self.reports) + len(self.finishes)

    def wait_for_one_more(self) -> None:
        """Return while the service is under load."""
        before = len(self)
        assert eventually(lambda: len(self) > before, 30), "nobody is answered"


class Load:
    """Clients that claim, report and finish without a pause, each thread one; they outlive every restart."""

    def __init__(self, url: str, study: str, answers: Answers) -> None:
        self._url = url
        self._study = study
        self._answers = answers
        self._stopping = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._work, args=[number]) for number in range(NUM_CLIENTS)]

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            for thread in self._threads:
                thread.join(30)
        assert not self._errors, self._errors

    def _work(self, number: int) -> None:
        chance = random.Random(number)
        try:
            with Client(self._url) as client:
                while not self._stopping.is_set():
                    self._carry_out(client, f"client-{number}", chance)
        except _StoppedError:
            pass
        except BaseException as error:
            self._errors.append(error)

    def _carry_out(self, client: Client, worker: str, chance: random.Random) -> None:
        claim = ClaimRequest(
            request_id=uuid.uuid4().hex,
            worker=worker,
            capabilities=Capabilities(tasks=[TaskKind.EXTERNAL]),
            studies=[self._study],
        )
        grant = self._insist("claim", lambda: client.claim(claim))
        assert isinstance(grant, Grant), grant
        self._answers.claims[claim.request_id] = grant
        for step in range(1, NUM_STEPS + 1):
            value = chance.random()
            report = ReportRequest(nonce=grant.nonce, sequence=step, points=[Point(step=step, metrics={"loss": value})])
            verdict = self._insist("report", lambda report=report: client.report(grant.trial, grant.attempt, report))
            self._answers.reports[grant.trial, grant.attempt, step] = value, verdict
        finish = FinishRequest(nonce=grant.nonce, outcome=Outcome(result="succeeded"))
        reply = self._insist("finish", lambda: client.finish(grant.trial, grant.attempt, finish))
        self._answers.finishes[grant.trial] = reply

    def _insist(self, what: str, call: Callable[[], T]) -> T:
        """Send the same request until it is answered."""
        while True:
            try:
                return call()
            except (ServiceUnreachable, ServiceFailure):
                self._answers.num_repeated[what] += 1
            if self._stopping.wait(0.02):
                raise _StoppedError


class _StoppedError(Exception):
    """The test is over while a request is unanswered."""


def missing(connection: sa.Connection, answers: Answers) -> list[str]:
    """Every answer that the database does not know."""
    claim, attempt, report, verdict, trial = (
        tables.claim,
        tables.attempt,
        tables.report,
        tables.verdict,
        tables.trial,
    )
    granted = sa.select(claim.c.request_id, claim.c.trial_id, claim.c.attempt, attempt.c.nonce).join(attempt)
    claims = {row[0]: tuple(row[1:]) for row in connection.execute(granted)}
    told = sa.select(report.c.trial_id, report.c.attempt, report.c.step, report.c.value)
    values = {tuple(row[:3]): row.value for row in connection.execute(told)}
    judged = sa.select(verdict.c.trial_id, verdict.c.attempt, verdict.c.sequence, verdict.c.action, verdict.c.reason)
    verdicts = {tuple(row[:3]): tuple(row[3:]) for row in connection.execute(judged)}
    ended = sa.select(trial.c.id, trial.c.state, trial.c["values"])
    states = {row[0]: tuple(row[1:]) for row in connection.execute(ended)}
    lost = [
        f"claim {request_id}: {grant}"
        for request_id, grant in list(answers.claims.items())
        if claims.get(request_id) != (grant.trial, grant.attempt, grant.nonce)
    ]
    lost += [
        f"report {key}: {value}, {answer}"
        for key, (value, answer) in list(answers.reports.items())
        if values.get(key) != value or verdicts.get(key) != (answer.action, answer.reason)
    ]
    lost += [
        f"finish {trial_id}: {reply}"
        for trial_id, reply in list(answers.finishes.items())
        if states.get(trial_id) != (reply.trial_state, reply.values)
    ]
    return lost


def look(service: Service, answers: Answers) -> None:
    """Whether the file that the dead service left is whole, right, and holds every answer."""
    with open_read_only(str(service.database)) as connection:
        assert [each for each in check(connection) if each.broken] == []
        assert missing(connection, answers) == []


class Reader:
    """A client that follows the study over every restart, and must find the end of every trial that was answered."""

    def __init__(self, client: Client, study: str) -> None:
        self._client = client
        self._study = study
        self._since = 0
        self._known: dict[str, TrialView] = {}

    def find(self, answers: Answers) -> None:
        promised = answers.finishes.copy()
        # No round moves as many trials as a page holds.
        page = self._client.trials(self._study, since=self._since)
        self._since = page.revision
        self._known |= {trial.id: trial for trial in page.trials}
        for trial_id, reply in promised.items():
            trial = self._known[trial_id]
            assert (trial.state, trial.values, trial.num_attempts) == (reply.trial_state, reply.values, 1)


@pytest.mark.prove
def test_every_answer_survives_every_sigkill(tmp_path: Path) -> None:
    chance = random.Random(20)
    answers = Answers()
    with running_service(tmp_path) as service, Client(service.url) as client:
        study = client.create_study(
            {
                "name": "load",
                "objective": {"metric": "loss", "direction": "minimize", "value": "best"},
                "space": {"x": {"type": "float", "low": 0, "high": 1}},
                "sampler": {"name": "random", "seed": 1},
                "budget": {"trials": 1_000_000},
            }
        )
        reader = Reader(client, study.name)
        with Load(service.url, study.name, answers).running():
            for _ in range(NUM_ROUNDS):
                answers.wait_for_one_more()
                time.sleep(chance.uniform(0, 1))
                service.stop(hard=True)
                look(service, answers)
                service.start()
                reader.find(answers)
            time.sleep(0.5)
        reader.find(answers)
    look(service, answers)
    # Otherwise no request was ever under way when the service died.
    assert answers.num_repeated.total() >= NUM_ROUNDS
    assert len(answers.finishes) > NUM_ROUNDS
