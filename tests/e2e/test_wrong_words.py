"""A study with one wrong word pauses after three trials with the reason; a study beside it completes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from service.client import Client
from service.contract.study import PauseCause, StudyState
from service.contract.trial import TrialState
from tests.support.forked_commands import COMMANDS, TRAINING
from tests.support.service import ROOT, Service

pytestmark = pytest.mark.prove

TRIALS = 40
NUM_ALIKE = 3
"""So many first trials that fail alike pause a study."""
SECONDS = 180.0
SILENT = """
def train(trial):
    trial.report(1, {"accuracy": trial.parameters["x"]})
"""


def regression(**changes: Any) -> dict[str, Any]:
    data = {"name": "csv", "path": "houses.csv", "target": "price", "kind": "regression"} | changes.pop("data", {})
    return {
        "train": {
            "data": data,
            "model": {"name": "linear"},
            "loss": {"name": "mse"},
            "optimizer": {"name": "sgd", "lr": 0.01},
            "batch_size": 8,
            "epochs": 1,
        }
        | changes
    }


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "missing-file": (regression(data={"path": "huoses.csv"}), "huoses.csv"),
    "wrong-target": (regression(data={"target": "pirce"}), "did you mean 'price'?"),
    "batch-beyond-the-data": (regression(batch_size=5_000), "batch_size: 5000 is more than the "),
    "objective-never-reported": (
        {"function": "silent:train"},
        "val/loss was never reported; it reported accuracy",
    ),
}
"""By study: its task, and what names the cause."""


def study(name: str, task: dict[str, Any], trials: int) -> dict[str, Any]:
    key = "optimizer.lr" if "train" in task else "x"
    return {
        "name": name,
        "objective": {"metric": "val/loss", "direction": "minimize"},
        "task": task,
        "preflight": "off",
        "space": {key: {"type": "float", "low": 0.001, "high": 0.1}},
        "sampler": "random",
        "budget": {"trials": trials},
    }


@pytest.fixture(scope="module")
def client(shared_service: Service) -> Iterator[Client]:
    with Client(shared_service.url) as opened:
        yield opened


@pytest.fixture(scope="module")
def judged(client: Client, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every study is over or paused, by one worker that had them all at once."""
    project = tmp_path_factory.mktemp("project")
    rows = [f"{size},{size % 7},{3 * size + size % 7}" for size in range(60)]
    (project / "houses.csv").write_text("\n".join(["size,rooms,price", *rows]) + "\n")
    (project / "silent.py").write_text(SILENT)
    for name, (task, _) in WRONG.items():
        client.create_study(study(name, task, TRIALS))
    client.create_study(study("healthy", regression(), 4))
    command = [sys.executable, "-m", "worker", "--cpu", "--threads", "1", "--allow-functions"]
    command += ["--server", client.server, "--state-dir", str(project / "state")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (project / "worker.log").open("wb") as log:
        worker = TRAINING.popen(command, cwd=project, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + SECONDS
        while any(client.study(name).state is StudyState.ACTIVE for name in (*WRONG, "healthy")):
            assert worker.poll() is None, (project / "worker.log").read_text()
            assert time.monotonic() < deadline, (project / "worker.log").read_text()
            time.sleep(0.2)
    finally:
        worker.terminate()
        worker.wait(30)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_word_pauses_its_study_after_three_trials(client: Client, judged: None, name: str) -> None:
    _, cause = WRONG[name]
    view = client.study(name)
    assert (view.state, view.pause_cause) == (StudyState.PAUSED, PauseCause.FAILURES)
    assert sum(view.num_trials.values()) == NUM_ALIKE
    assert view.state_reason is not None
    assert view.state_reason.startswith(f"the first {NUM_ALIKE} trials all failed with the same error: ")
    assert cause in view.state_reason
    command = [sys.executable, "-m", "service.cli.main", "watch", name, "--server", client.server]
    watched = COMMANDS.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert watched.returncode == 1
    assert watched.stderr.startswith(f"{name} is paused: {view.state_reason}\n")
    assert "Traceback" not in watched.stdout + watched.stderr


def test_a_healthy_study_beside_them_completes(client: Client, judged: None) -> None:
    view = client.study("healthy")
    assert view.state is StudyState.COMPLETED
    assert view.num_trials == {TrialState.COMPLETED: 4}
