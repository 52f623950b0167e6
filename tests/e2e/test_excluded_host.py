"""A worker that lacks one study's file trains the other study, and the first one after readmission."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from service.client import Client
from service.contract.attempt import FinishRequest, Outcome
from service.contract.claim import ClaimRequest, Grant
from service.contract.report import Point, ReportRequest
from service.contract.study import StudyState
from service.contract.trial import TrialState
from tests.support.forked_commands import COMMANDS, TRAINING
from tests.support.service import ROOT, Service
from tests.worker.waiting import eventually

pytestmark = pytest.mark.prove

SECONDS = 120.0
ROWS = "\n".join(["size,rooms,price", *(f"{size},{size % 7},{3 * size + size % 7}" for size in range(60))]) + "\n"


def study(name: str, path: str, priority: int = 0) -> dict[str, Any]:
    train = {
        "data": {"name": "csv", "path": path, "target": "price", "kind": "regression"},
        "model": {"name": "linear"},
        "loss": {"name": "mse"},
        "optimizer": {"name": "sgd", "lr": 0.01},
        "batch_size": 8,
        "epochs": 1,
    }
    return {
        "name": name,
        "objective": {"metric": "val/loss", "direction": "minimize"},
        "task": {"train": train},
        "preflight": "off",
        "space": {"optimizer.lr": {"type": "float", "low": 0.001, "high": 0.1}},
        "sampler": "random",
        "budget": {"trials": 4},
        "priority": priority,
    }


def train_elsewhere(client: Client, name: str) -> None:
    """Complete one trial of a study as a worker on another host, which has the study's file."""
    grant = client.claim(ClaimRequest(request_id=uuid.uuid4().hex, worker="far", host="elsewhere", studies=[name]))
    assert isinstance(grant, Grant)
    point = Point(step=1, metrics={"val/loss": 0.5})
    client.report(grant.trial, grant.attempt, ReportRequest(nonce=grant.nonce, sequence=1, points=[point]))
    outcome = Outcome(result="succeeded")
    client.finish(grant.trial, grant.attempt, FinishRequest(nonce=grant.nonce, outcome=outcome))


def say(client: Client, *words: str) -> str:
    command = [sys.executable, "-m", "service.cli.main", *words, "--server", client.server]
    done = COMMANDS.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_a_worker_without_one_studys_file_trains_the_other_study(shared_service: Service, tmp_path: Path) -> None:
    (tmp_path / "houses.csv").write_text(ROWS)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    worker = [sys.executable, "-m", "worker", "--cpu", "--threads", "1", "--name", "near"]
    worker += ["--state-dir", str(tmp_path / "state"), "--server", shared_service.url]
    watch = [sys.executable, "-m", "service.cli.main", "watch", "broken", "--server", shared_service.url]
    with Client(shared_service.url) as client, (tmp_path / "worker.log").open("wb") as log:
        client.create_study(study("broken", "flats.csv", priority=1))
        client.create_study(study("healthy", "houses.csv"))
        train_elsewhere(client, "broken")
        watching = COMMANDS.popen(watch, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        working = TRAINING.popen(worker, cwd=tmp_path, env=environment, stdout=log, stderr=log)
        try:
            assert eventually(lambda: client.study("healthy").state is StudyState.COMPLETED, SECONDS)
            assert client.study("healthy").num_trials == {TrialState.COMPLETED: 4}
            broken = client.study("broken")
            assert (broken.state, broken.num_trials) == (
                StudyState.ACTIVE,
                {TrialState.COMPLETED: 1, TrialState.WAITING: 1},
            )
            (exclusion,) = broken.exclusions
            assert "flats.csv" in exclusion.reason
            remedy = f"study readmit {exclusion.host}"
            assert f"the host {exclusion.host} gets no trials of it: two faults in a row" in say(
                client, "show", "broken"
            )
            assert remedy in say(client, "show", "broken")
            (near,) = [each for each in client.workers().workers if each.name == "near"]
            assert near.quarantined_at is None
            assert "no trials of broken: two faults in a row" in say(client, "workers")
            (tmp_path / "flats.csv").write_text(ROWS)
            say(client, "readmit", exclusion.host)
            assert eventually(lambda: client.study("broken").state is StudyState.COMPLETED, SECONDS)
            assert client.study("broken").num_trials == {TrialState.COMPLETED: 4}
            printed = watching.communicate(timeout=60)[0]
            assert [remedy in line for line in printed.splitlines()].count(True) == 1, "said once"
        finally:
            for process in (watching, working):
                process.terminate()
                process.wait(30)
