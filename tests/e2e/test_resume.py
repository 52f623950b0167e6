"""Real workers killed at random instants: the trial goes on elsewhere, and ends as if nothing had happened."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from service.client import Client
from service.contract.lease import FailureClass
from service.contract.trial import AttemptState
from tests.e2e.test_worker import child_of, spec
from tests.support.service import Service, running_service
from tests.worker.grants import digits
from tests.worker.waiting import eventually

pytestmark = pytest.mark.slow

START_SECONDS = 30.0
NUM_EPOCHS = 60


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    short = {
        "ASSAYER_HEARTBEAT_SECONDS": "0.3",
        "ASSAYER_LEASE_SECONDS": "2",
        "ASSAYER_REAPER_SECONDS": "0.5",
    }
    with running_service(tmp_path_factory.mktemp("service"), environment=short) as service:
        yield service


@pytest.fixture(scope="module")
def client(live: Service) -> Iterator[Client]:
    with Client(live.url) as connected:
        yield connected


Start = Callable[[str, str], subprocess.Popen[str]]


@pytest.fixture(scope="module")
def worker(live: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start a worker on a named host of its own; whatever still works at the end is ended."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ASSAYER_")}
    hosts = tmp_path_factory.mktemp("hosts")
    with contextlib.ExitStack() as stack:

        def start(study: str, host: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-m", "worker", "--cpu", "--threads", "1", "--server", live.url, "--until-done"]
            command += ["--name", host, "--state-dir", str(hosts / host), "--study", study]
            process = subprocess.Popen(command, env=environment | {"ASSAYER_CHECKPOINT_SECONDS": "0"}, text=True)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        yield start


def study_of(name: str) -> dict[str, Any]:
    """One trial of a few seconds; the seed makes it the same in every study."""
    task = digits(
        data={"name": "digits", "val_fraction": 0.2, "test_fraction": 0.2, "seed": 0},
        model={"name": "mlp", "hidden": [512, 512], "dropout": 0.2},
        schedule={"name": "cosine"},
        batch_size=32,
        epochs=NUM_EPOCHS,
    )
    return spec(name, trials=1, task=task)


def num_saved(client: Client, study: str) -> int:
    return sum(event.kind == "checkpoint_stored" for event in client.events(study))


def result_of(client: Client, study: str) -> tuple[object, ...]:
    """All that a training says, but for the time it took."""
    trial = client.trial(study, 0)
    series = sorted((one.metric, tuple(one.steps), tuple(one.values)) for one in trial.series)
    return trial.parameters, series, trial.values, {**trial.metrics, "seconds": None}


@pytest.fixture(scope="module")
def undisturbed(client: Client, worker: Start) -> tuple[object, ...]:
    client.create_study(study_of("undisturbed"))
    assert worker("undisturbed", "calm").wait(120) == 0
    assert num_saved(client, "undisturbed") > 0
    return result_of(client, "undisturbed")


def wait_for_more(client: Client, study: str, num_before: int) -> None:
    """Until another checkpoint is stored, and then for a moment that nobody chose."""
    assert eventually(lambda: num_saved(client, study) > num_before, START_SECONDS)
    time.sleep(random.Random().uniform(0, 0.3))


def resume_steps(live: Service, study: str) -> list[int]:
    """Where each attempt of the study's trial began."""
    with contextlib.closing(sqlite3.connect(f"file:{live.database}?mode=ro", uri=True)) as database:
        query = (
            "SELECT coalesce(attempt.resume_step, 0) FROM attempt JOIN study ON study.id = attempt.study_id "
            "WHERE study.name = ? ORDER BY attempt.number"
        )
        return [row[0] for row in database.execute(query, (study,))]


def test_killed_training_processes_and_agents_change_nothing_about_the_result(
    live: Service, client: Client, worker: Start, undisturbed: tuple[object, ...]
) -> None:
    client.create_study(study_of("disturbed"))
    first = worker("disturbed", "one")
    wait_for_more(client, "disturbed", 0)
    os.kill(child_of(first), signal.SIGKILL)
    assert eventually(lambda: len(client.trial("disturbed", 0).attempts) == 2, 10)
    wait_for_more(client, "disturbed", num_saved(client, "disturbed"))
    first.kill()
    first.wait()
    second = worker("disturbed", "two")
    assert second.wait(120) == 0
    lost = client.trial("disturbed", 0).attempts
    assert [attempt.failure for attempt in lost] == [FailureClass.PROCESS_KILLED, FailureClass.WORKER_LOST, None]
    at = resume_steps(live, "disturbed")
    assert 0 == at[0] < at[1] < at[2]
    assert result_of(client, "disturbed") == undisturbed


def test_a_stopped_worker_hands_its_last_epoch_on(
    live: Service, client: Client, worker: Start, undisturbed: tuple[object, ...]
) -> None:
    client.create_study(study_of("handed-on"))
    first = worker("handed-on", "three")
    wait_for_more(client, "handed-on", 0)
    first.send_signal(signal.SIGTERM)
    assert first.wait(15) == 0
    trial = client.trial("handed-on", 0)
    assert [attempt.state for attempt in trial.attempts] == [AttemptState.RELEASED]
    reached = max(len(series.steps) for series in trial.series)
    assert worker("handed-on", "four").wait(120) == 0
    assert resume_steps(live, "handed-on") == [0, reached]
    assert result_of(client, "handed-on") == undisturbed
