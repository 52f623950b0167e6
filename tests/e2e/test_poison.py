"""Hostile studies, requests, files and clocks beside a healthy study: its calls stay fast, and it completes."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import sqlalchemy as sa

from service.client import Client
from service.contract.attempt import FinishRequest, HeartbeatRequest, HeldLease, Outcome
from service.contract.base import TaskKind
from service.contract.capabilities import Capabilities
from service.contract.claim import ClaimRequest, Grant, NoTrial
from service.contract.report import Point, ReportRequest
from service.contract.study import StudyState
from service.storage import tables
from service.storage.database import url_of
from service.storage.fsck.invariants import check
from tests.support import poisoned_service as hostile
from tests.support.forked_commands import TRAINING
from tests.support.service import ROOT, Service
from tests.worker.grants import digits
from tests.worker.waiting import eventually

pytestmark = pytest.mark.prove

MOST_SECONDS = 1.0
"""What a call of the healthy study may take; on a machine that is slow by itself, thrice as long as it took alone."""

T = TypeVar("T")


def spec(name: str, *, seed: int = 0, priority: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "objective": {"metric": "loss", "direction": "minimize"},
        "space": {"x": {"type": "float", "low": 0, "high": 1}},
        "sampler": {"name": "random", "seed": seed},
        "budget": {"trials": 5},
        "priority": priority,
        "preflight": "off",
    } | changes


@dataclass
class HealthyClient:
    """Claims, heartbeats, reports and finishes of the healthy study without a pause, and how long each took."""

    url: str
    study: str
    taken: dict[str, list[float]] = field(default_factory=dict)
    phase: str = "alone"
    """What goes on beside it, for the message of a failure."""
    errors: list[BaseException] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._work)
        thread.start()
        try:
            yield
        finally:
            self.stopping.set()
            thread.join(60)
        assert not self.errors, self.errors

    def _timed(self, what: str, call: Callable[[], T]) -> T:
        began = time.monotonic()
        answer = call()
        self.taken.setdefault(f"{what} beside {self.phase}", []).append(time.monotonic() - began)
        return answer

    def _work(self) -> None:
        try:
            with Client(self.url) as client:
                while not self.stopping.is_set():
                    self._train(client)
        except BaseException as error:
            self.errors.append(error)

    def _train(self, client: Client) -> None:
        request = claim_of(self.study)
        grant = self._timed("claim", lambda: client.claim(request))
        assert isinstance(grant, Grant), grant
        lease = HeldLease(trial=grant.trial, attempt=grant.attempt, nonce=grant.nonce)
        for step in range(1, 4):
            report = ReportRequest(nonce=grant.nonce, sequence=step, points=[Point(step=step, metrics={"loss": step})])
            self._timed("report", lambda report=report: client.report(grant.trial, grant.attempt, report))
            beat = HeartbeatRequest(worker="healthy", leases=[lease])
            (status,) = self._timed("heartbeat", lambda beat=beat: client.heartbeat(beat)).leases
            assert status.held, status
            time.sleep(0.02)
        finish = FinishRequest(nonce=grant.nonce, outcome=Outcome(result="succeeded"))
        self._timed("finish", lambda: client.finish(grant.trial, grant.attempt, finish))


def claim_of(study: str | None, worker: str = "healthy") -> ClaimRequest:
    return ClaimRequest(
        request_id=uuid.uuid4().hex,
        worker=worker,
        capabilities=Capabilities(tasks=[TaskKind.EXTERNAL]),
        studies=None if study is None else [study],
    )


@dataclass
class Poisoned:
    """A service with hostile strategies, and the database behind it."""

    service: Service
    engine: sa.Engine
    clock: Path
    undo: list[sa.Executable] = field(default_factory=list)

    def damage(self, study: str, **spec: Any) -> None:
        """Change the stored spec by hand, past every check."""
        with self.engine.begin() as connection:
            table, study_id = tables.study_spec, self._id_of(connection, study)
            stored = connection.execute(sa.select(table.c.spec).where(table.c.study_id == study_id)).scalar_one()
            self.undo.append(table.update().where(table.c.study_id == study_id).values(spec=stored))
            changed = {**stored, **spec} if spec else "damaged"
            connection.execute(table.update().where(table.c.study_id == study_id).values(spec=changed))

    def damage_trial(self, study: str) -> None:
        with self.engine.begin() as connection:
            table = tables.trial
            of_study = table.c.study_id == self._id_of(connection, study)
            self.undo.append(table.update().where(of_study).values(rung_results=[]))
            connection.execute(table.update().where(of_study).values(rung_results=[{"no": "rung"}]))

    def heal(self) -> None:
        """Put back what was damaged: `fsck` reads it too."""
        with self.engine.begin() as connection:
            for statement in self.undo:
                connection.execute(statement)

    def state_of(self, study: str) -> tuple[str, str]:
        with self.engine.connect() as connection:
            row = connection.execute(sa.select(tables.study).where(tables.study.c.name == study)).one()
            return row.state, row.state_reason or ""

    @staticmethod
    def _id_of(connection: sa.Connection, study: str) -> str:
        return str(connection.execute(sa.select(tables.study.c.id).where(tables.study.c.name == study)).scalar_one())


@pytest.fixture(params=["sqlite", "postgresql"])
def poisoned(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Poisoned]:
    database = None if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    clock = tmp_path / "clock"
    clock.write_text("0")
    environment = {
        "ASSAYER_SUGGEST_SECONDS": "1",
        "ASSAYER_REAPER_SECONDS": "0.5",
        "ASSAYER_LEASE_SECONDS": "20",
        "ASSAYER_HEARTBEAT_SECONDS": "2",
        "ASSAYER_BLOBS": str(tmp_path / "blobs"),
    }
    service = Service(tmp_path, database=database, environment=environment)
    service.program = [sys.executable, "-m", "tests.support.poisoned_service", str(clock)]
    service.start()
    engine = sa.create_engine(url_of(database or str(service.database)), poolclass=sa.NullPool)
    try:
        yield Poisoned(service, engine, clock)
    finally:
        began = time.monotonic()
        service.stop()
        # Samplers that never end keep no process alive.
        assert time.monotonic() - began < 9.5
        engine.dispose()


def hostile_studies(poisoned: Poisoned, client: Client) -> dict[str, str]:
    """Create them; the name of each, and a word of the reason for which it is to be paused ('': it is only skipped)."""
    expected = {"raises": "KeyError", "exits": "SystemExit", "stops": "StopIteration", "no-json": "JSON serializable"}
    seeds = {
        "raises": hostile.RAISES,
        "exits": hostile.EXITS,
        "stops": hostile.STOPS,
        "no-json": hostile.NO_JSON,
        "hangs": hostile.HANGS,
        "spins": hostile.SPINS,
        "hungry": hostile.HUNGRY,
    }
    for name, seed in seeds.items():
        client.create_study(spec(name, seed=seed, priority=9))
    for name, low, high in (("wide-int", 0, 2**63 - 1), ("wide-float", -1.7e308, 1.7e308)):
        client.create_study(spec(name, priority=9))
        kind = "int" if name == "wide-int" else "float"
        poisoned.damage(name, space={"x": {"type": kind, "low": low, "high": high}})
        expected[name] = "is damaged in the database"
    client.create_study(spec("damaged", priority=9))
    poisoned.damage("damaged")
    expected["damaged"] = "is damaged in the database"
    # Its search goes on without the damaged trial; of a lower priority than the study that claims are to get.
    client.create_study(spec("damaged-trial", priority=0))
    assert isinstance(client.claim(claim_of("damaged-trial", "other")), Grant)
    poisoned.damage_trial("damaged-trial")
    return expected


def hostile_requests(url: str) -> None:
    """Send what should be refused in a sentence; none of it may be a 500."""
    long = "9" * 400
    study = json.dumps(spec("never"))
    bodies = [
        study.replace('"high": 1', f'"high": {long}'),
        study.replace('"float", "low": 0', f'"int", "low": -{long}'),
        study[:-1] + "," + ",".join(f'"unknown-{at}": 1' for at in range(6_000)) + "}",
        study[:-1] + ', "description": "\\ud800"}',
        study[:-1] + ', "description": ' + "[" * 100_000 + "]" * 100_000 + "}",
        study[:-1] + ', "description": "' + "x" * 5_000_000 + '"}',
        "{" * 1_000,
        "",
        "null",
        "[]",
    ]
    with httpx.Client(base_url=f"{url}/api/v1", timeout=30, trust_env=False) as http:
        for path in ("/studies", "/studies/check", "/studies/plan", "/claims", "/heartbeats"):
            for body in bodies:
                answer = http.post(path, content=body.encode(), headers={"Content-Type": "application/json"})
                assert 400 <= answer.status_code < 500, (path, body[:80], answer.text[:200])
        assert http.get("/studies/healthy").is_success
        assert "healthy" in {study["name"] for study in http.get("/studies").json()["studies"]}


def test_a_healthy_study_lives_beside_hostile_ones(poisoned: Poisoned) -> None:
    service = poisoned.service
    healthy = HealthyClient(service.url, "healthy")
    with Client(service.url) as client:
        client.create_study(spec("healthy", budget={"trials": 10_000}))
        client.create_study(spec("for-all", priority=1, budget={"trials": 10_000}))
        with healthy.running():
            time.sleep(3)
            alone = max(seconds for taken in healthy.taken.values() for seconds in taken)
            healthy.phase = "hostile studies"
            expected = hostile_studies(poisoned, client)
            # Claims that name no study come by all of them.
            for number in range(8):
                answer = client.claim(claim_of(None, f"w{number}"))
                assert isinstance(answer, Grant), answer
                assert answer.study_name == "for-all"
            healthy.phase = "hostile requests"
            hostile_requests(service.url)
            healthy.phase = "skipped studies"
            for name in expected:  # a claim that names a hostile study hears why it gets nothing
                answer = client.claim(claim_of(name, "asker"))
                assert isinstance(answer, NoTrial), answer
                assert name in answer.reason or answer.reason.startswith("no active study"), answer
            # Storage comes and goes.
            healthy.phase = "a folder that vanishes and a clock that jumps"
            blobs = service.directory / "blobs"
            blobs.rename(blobs.with_name("gone"))
            time.sleep(0.5)
            blobs.with_name("gone").rename(blobs)
            # The database's clock is a year ahead for a moment.
            poisoned.clock.write_text(str(365 * 86_400))
            time.sleep(1)
            poisoned.clock.write_text("0")
            time.sleep(2)
        # What the client of the healthy study saw.
        slowest = {what: max(taken) for what, taken in healthy.taken.items()}
        assert sum(len(taken) for taken in healthy.taken.values()) > 100
        assert max(slowest.values()) < max(MOST_SECONDS, 3 * alone), (slowest, alone)
        client.stop("healthy")
        assert eventually(lambda: poisoned.state_of("healthy")[0] == StudyState.STOPPED, 10)
    # So many at once are the service's own fault, for all that it knows: two were paused, the others are skipped.
    paused = {name: reason for name in expected for state, reason in [poisoned.state_of(name)] if state == "paused"}
    assert len(paused) == 2
    assert all(expected[name] in reason for name, reason in paused.items()), paused
    log = service.log.read_text()
    assert "ALARM" in log
    assert " 500" not in log
    poisoned.heal()
    with poisoned.engine.connect() as connection:
        broken = [(each.name, each.broken) for each in check(connection) if each.broken]
    assert not broken, broken


def test_a_worker_trains_a_healthy_study_to_the_end_beside_hostile_ones(poisoned: Poisoned, tmp_path: Path) -> None:
    """A real worker that names no study: it comes by the hostile ones with every claim."""
    service = poisoned.service
    with Client(service.url) as client:
        for name, seed in (("raises", hostile.RAISES), ("hangs", hostile.HANGS)):
            client.create_study(spec(name, seed=seed, priority=9, task={"train": digits(epochs=1)}, **TRAIN))
        client.create_study(spec("damaged", priority=9, task={"train": digits(epochs=1)}, **TRAIN))
        poisoned.damage("damaged")
        client.create_study(spec("healthy", task={"train": digits(epochs=1)}, **TRAIN | {"budget": {"trials": 2}}))
        command = [sys.executable, "-m", "worker", "--cpu", "--threads", "1", "--server", service.url]
        command += ["--state-dir", str(tmp_path / "worker"), "--name", "w"]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ASSAYER_")}
        with (tmp_path / "worker.log").open("w") as log:
            worker = TRAINING.popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            assert eventually(lambda: poisoned.state_of("healthy")[0] == StudyState.COMPLETED, 90), (
                tmp_path / "worker.log"
            ).read_text()[-3000:]
        finally:
            worker.terminate()
            worker.wait(30)
    assert poisoned.state_of("raises")[0] == poisoned.state_of("damaged")[0] == StudyState.PAUSED


TRAIN: dict[str, Any] = {
    "objective": {"metric": "val/accuracy", "direction": "maximize"},
    "space": {"optimizer.lr": {"type": "float", "low": 1e-3, "high": 1e-1, "log": True}},
    "budget": {"trials": 5},
}
