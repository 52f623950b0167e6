"""A worker on a service whose database disk is full: it repeats its reports, and none is lost or duplicated."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.client import Client
from service.contract.study import StudyState
from service.contract.trial import AttemptState, TrialState
from service.storage.database import open_read_only
from service.storage.fsck.invariants import check
from tests.support.forked_commands import TRAINING
from tests.support.service import ROOT, Service
from tests.worker.waiting import eventually

pytestmark = pytest.mark.prove

SECONDS = 90.0
STEPS = 12
METRICS = 40

CODE = f"""
import pathlib, time

def train(trial):
    for step in range(1, {STEPS + 1}):
        wide = {{f"metric {{n}} of a long name {{'x' * 90}}": step + n / 64 for n in range({METRICS})}}
        trial.report(step, wide | {{"loss": float({STEPS} - step)}})
        if step == 3:
            pathlib.Path("reported").touch()
            while not pathlib.Path("go").exists():
                time.sleep(0.02)
        time.sleep(0.05)
"""


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """While this file is there, the database cannot grow."""
    return tmp_path / "full"


@pytest.fixture
def served(tmp_path: Path, full: Path) -> Iterator[Service]:
    service = Service(tmp_path, environment={"ASSAYER_HEARTBEAT_SECONDS": "0.5", "ASSAYER_LEASE_SECONDS": "120"})
    service.program = [sys.executable, "-m", "tests.support.full_service", str(full)]
    service.start()
    yield service
    service.stop()


def test_a_worker_repeats_what_a_full_database_refused(served: Service, full: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "wide.py").write_text(CODE)
    command = [sys.executable, "-m", "worker", "--cpu", "--threads", "1", "--server", served.url, "--study", "wide"]
    command += ["--until-done", "--allow-functions", "--state-dir", str(tmp_path / "state")]
    said = tmp_path / "worker.log"
    with Client(served.url) as client, said.open("wb") as log:
        spec = {
            "name": "wide",
            "objective": {"metric": "loss", "direction": "minimize"},
            "space": {"lr": {"type": "float", "low": 0, "high": 1}},
            "task": {"function": "wide:train"},
            "budget": {"trials": 1},
        }
        client.create_study(spec)
        worker = TRAINING.popen(command, cwd=project, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=log)
        try:
            assert eventually((project / "reported").exists, SECONDS)
            full.touch()
            (project / "go").touch()
            assert eventually(lambda: said.read_text().count("the disk of the database is full") >= 3, SECONDS)
            assert client.trial("wide", 0).state == TrialState.RUNNING
            assert worker.poll() is None
            full.unlink()
            assert worker.wait(SECONDS) == 0, said.read_text()
        finally:
            worker.kill()
            worker.wait()
        trial = client.trial("wide", 0)
        assert (trial.state, trial.values) == (TrialState.COMPLETED, [0.0])
        assert [attempt.state for attempt in trial.attempts] == [AttemptState.SUCCEEDED]
        assert {series.metric for series in trial.series} >= {"loss"}
        assert len(trial.series) == METRICS + 1
        assert all(series.steps == list(range(1, STEPS + 1)) for series in trial.series)
        assert client.study("wide").state == StudyState.COMPLETED
    with contextlib.closing(sqlite3.connect(served.database)) as raw:
        assert raw.execute("SELECT count(*) FROM report").fetchone() == (STEPS * (METRICS + 1),)
    with open_read_only(str(served.database)) as connection:
        assert [each for each in check(connection) if each.broken] == []
