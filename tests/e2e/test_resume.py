"""Workers killed at random times: another worker resumes the trial, with the same result as without interruption."""

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
from pathlib import Path
from typing import Any

import pytest

from service.cli.main import main as study_command
from service.client import Client
from service.contract.attempt import FailureClass
from service.contract.study import StudyState
from service.contract.trial import AttemptState, TrialDetail, TrialState
from tests.e2e.test_worker import child_of, spec
from tests.support.forked_commands import TRAINING
from tests.support.service import Service, running_service
from tests.worker.grants import digits, table
from tests.worker.waiting import eventually

pytestmark = pytest.mark.prove

START_SECONDS = 60.0
DONE_SECONDS = 240.0
NUM_EPOCHS = 60
SEEDS = (1, 2, 3)
"""Of the rounds in which a training is killed at random instants."""
NUM_KILLS = 3
FORK_EPOCHS = 40

OBSERVER = """
import hashlib, os, pathlib, sys


def observe():
    task = sys.modules.get("worker.trial.tasks.train")
    if task is None:
        return
    train = task.train

    def observed(*given, **named):
        result = train(*given, **named)
        digest = hashlib.sha256()
        for name, tensor in sorted(result.model.state_dict().items()):
            digest.update(name.encode() + tensor.numpy().tobytes())
        pathlib.Path(os.environ["WEIGHTS"], named["checkpoint_dir"].parent.name).write_text(digest.hexdigest())
        return result

    task.train = observed


os.register_at_fork(after_in_child=observe)
"""
"""Python loads it by itself in every process of a worker: each training that ends leaves a hash of its weights."""


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
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where each training that ended has left a hash of its weights, under the id of its trial."""
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def worker(live: Service, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start a worker on a named host of its own; whatever still works at the end is ended."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ASSAYER_")}
    observer = tmp_path_factory.mktemp("observer")
    (observer / "sitecustomize.py").write_text(OBSERVER)
    environment |= {"PYTHONPATH": str(observer), "WEIGHTS": str(weights)}
    hosts = tmp_path_factory.mktemp("hosts")
    with contextlib.ExitStack() as stack:

        def start(study: str, host: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-m", "worker", "--cpu", "--threads", "1", "--server", live.url, "--until-done"]
            command += ["--name", host, "--state-dir", str(hosts / host), "--study", study]
            command += ["--pass-env", "WEIGHTS", "--data", str(tmp_path_factory.getbasetemp())]
            process = TRAINING.popen(command, env=environment | {"ASSAYER_CHECKPOINT_SECONDS": "0"}, text=True)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        yield start


def study_of(name: str, **changes: Any) -> dict[str, Any]:
    """One trial of a few seconds; the seed makes it the same in every study."""
    task = digits(
        data={"name": "digits", "val_fraction": 0.2, "test_fraction": 0.2, "seed": 0},
        model={"name": "mlp", "hidden": [512, 512], "dropout": 0.2},
        schedule={"name": "cosine"},
        batch_size=32,
        epochs=NUM_EPOCHS,
    )
    task |= changes
    objective = {"metric": "val/accuracy", "direction": "maximize", "value": "last"}
    return spec(name, trials=1, task=task, objective=objective)


def num_saved(client: Client, study: str, *, in_middle: bool = False) -> int:
    saved = [event.data for event in client.events(study).events if event.kind == "checkpoint_stored"]
    return sum(each["batch"] > 0 or not in_middle for each in saved)


Result = Callable[[str], tuple[object, ...]]


@pytest.fixture(scope="module")
def result_of(client: Client, weights: Path) -> Result:
    """All that a training says, but for the time it took, and the weights that it ended with."""

    def of(study: str) -> tuple[object, ...]:
        trial = client.trial(study, 0)
        series = sorted((one.metric, tuple(one.steps), tuple(one.values)) for one in trial.series)
        metrics = {**trial.metrics, "seconds": None}
        return trial.parameters, series, trial.values, metrics, (weights / trial.id).read_text()

    return of


@pytest.fixture(scope="module")
def undisturbed(client: Client, worker: Start, result_of: Result) -> tuple[object, ...]:
    client.create_study(study_of("undisturbed"))
    assert worker("undisturbed", "calm").wait(DONE_SECONDS) == 0
    assert num_saved(client, "undisturbed") > 0
    return result_of("undisturbed")


def wait_for_more(client: Client, study: str, num_before: int, *, in_middle: bool = False) -> None:
    """Until another checkpoint is stored, and then for a moment that nobody chose."""
    assert eventually(lambda: num_saved(client, study, in_middle=in_middle) > num_before, START_SECONDS)
    time.sleep(random.Random().uniform(0, 0.3))


def resume_steps(live: Service, study: str) -> list[int]:
    """The step after which each attempt of the study's trial began."""
    return [step for step, _ in resume_places(live, study)]


def resume_places(live: Service, study: str) -> list[tuple[int, int]]:
    """The step and the batch of the next one after which each attempt of the study's trial began."""
    with contextlib.closing(sqlite3.connect(f"file:{live.database}?mode=ro", uri=True)) as database:
        query = (
            "SELECT coalesce(attempt.resume_step, 0), resume_batch FROM attempt "
            "JOIN study ON study.id = attempt.study_id WHERE study.name = ? ORDER BY attempt.number"
        )
        return database.execute(query, (study,)).fetchall()


def test_killed_training_processes_and_agents_change_nothing_about_the_result(
    live: Service, client: Client, worker: Start, result_of: Result, undisturbed: tuple[object, ...]
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
    assert second.wait(DONE_SECONDS) == 0
    lost = client.trial("disturbed", 0).attempts
    assert [attempt.failure for attempt in lost] == [FailureClass.PROCESS_KILLED, FailureClass.WORKER_LOST, None]
    at = resume_steps(live, "disturbed")
    assert 0 == at[0] < at[1] < at[2]
    assert result_of("disturbed") == undisturbed


@pytest.mark.parametrize("seed", SEEDS)
def test_a_training_killed_at_random_instants_ends_with_the_same_metrics_and_weights_bit_for_bit(
    client: Client, worker: Start, result_of: Result, undisturbed: tuple[object, ...], seed: int
) -> None:
    """Three times SIGKILL, to the training process or the agent above it, after a random step and a random moment."""
    chance, study = random.Random(seed), f"random-{seed}"
    client.create_study(study_of(study))
    process = worker(study, study)
    targets = sorted(chance.sample(range(1, NUM_EPOCHS - 10), NUM_KILLS))
    for num_before, target in enumerate(targets):
        assert eventually(lambda: has_reached(client, study, num_before + 1, target), DONE_SECONDS)  # noqa: B023
        time.sleep(chance.uniform(0, 0.1))
        if chance.random() < 0.5:
            os.kill(child_of(process), signal.SIGKILL)
        else:
            process.kill()
            process.wait()
            process = worker(study, study)
    assert process.wait(DONE_SECONDS) == 0
    attempts = client.trial(study, 0).attempts
    assert len(attempts) == NUM_KILLS + 1
    assert {attempt.failure for attempt in attempts[:-1]} <= {FailureClass.PROCESS_KILLED, FailureClass.WORKER_LOST}
    assert result_of(study) == undisturbed


def has_reached(client: Client, study: str, attempt: int, step: int) -> bool:
    """Whether this attempt runs and the trial has come to this step."""
    trials = client.trials(study).trials
    if not trials or trials[0].num_attempts != attempt or trials[0].state is not TrialState.RUNNING:
        return False
    return (trials[0].step or 0) >= step


def test_a_long_epoch_killed_midway_continues_on_another_worker_without_loss(
    live: Service, client: Client, worker: Start, result_of: Result, tmp_path: Path
) -> None:
    """SIGKILL to the training process, then SIGTERM to the worker, each within the epoch; then another worker.

    Within the epoch two checkpoints of its middle must be saved, each no sooner than a second after training began.
    """
    model = {"name": "mlp", "hidden": [16], "dropout": 0.2}
    long_epoch = {"batch_size": 1, "epochs": 1, "model": model, "data": table(tmp_path / "data.csv", 12_000)}
    for name in ("long", "long-disturbed"):
        client.create_study(study_of(name, **long_epoch))
    straight = worker("long", "straight")
    first = worker("long-disturbed", "five")
    wait_for_more(client, "long-disturbed", 0, in_middle=True)
    os.kill(child_of(first), signal.SIGKILL)
    assert eventually(lambda: len(client.trial("long-disturbed", 0).attempts) == 2, 10)
    wait_for_more(client, "long-disturbed", num_saved(client, "long-disturbed", in_middle=True), in_middle=True)
    first.send_signal(signal.SIGTERM)
    assert first.wait(15) == 0
    trial = client.trial("long-disturbed", 0)
    assert [attempt.state for attempt in trial.attempts] == [AttemptState.FAILED, AttemptState.RELEASED]
    assert worker("long-disturbed", "six").wait(DONE_SECONDS) == 0
    places = resume_places(live, "long-disturbed")
    assert [step for step, _ in places] == [0, 0, 0]
    assert 0 == places[0][1] < places[1][1] < places[2][1]
    assert straight.wait(DONE_SECONDS) == 0
    assert result_of("long-disturbed") == result_of("long")


def forkable(name: str) -> dict[str, Any]:
    """One trial of a few seconds that saves a checkpoint after every epoch."""
    task = digits(
        data={"name": "digits", "seed": 0},
        model={"name": "mlp", "hidden": [256, 256]},
        batch_size=32,
        epochs=FORK_EPOCHS,
    )
    return spec(name, trials=1, task=task)


def steps_of(trial: TrialDetail, metric: str = "val/loss") -> dict[int, Any]:
    (series,) = (series for series in trial.series if series.metric == metric)
    return dict(zip(series.steps, series.values, strict=True))


def forked(client: Client, live: Service, study: str, capsys: pytest.CaptureFixture[str], *changes: str) -> str:
    """Fork the study's trial by the command, from its newest checkpoint; the fork's id."""
    assert study_command(["--server", live.url, "fork", study, "0", "--set", *changes]) == 0
    assert capsys.readouterr().out.startswith("forked from trial 0 at step ")
    return client.forks(study).trials[-1].id


def test_a_fork_of_a_finished_study_continues_from_the_best_with_another_rate(
    live: Service,
    client: Client,
    worker: Start,
    capsys: pytest.CaptureFixture[str],
) -> None:
    client.create_study(forkable("still"))
    assert worker("still", "still").wait(DONE_SECONDS) == 0
    parent = client.trial("still", 0)
    # At a rate of almost nothing it is seen that the weights are the parent's.
    fork = forked(client, live, "still", capsys, "optimizer.lr=1e-12")
    assert client.study("still").state is StudyState.ACTIVE
    assert worker("still", "still").wait(DONE_SECONDS) == 0
    trained = client.trial("still", fork)
    at = trained.parent_step
    assert at is not None
    assert (trained.state, trained.step) == (TrialState.COMPLETED, FORK_EPOCHS)
    losses = steps_of(trained)
    assert list(losses) == list(range(at + 1, FORK_EPOCHS + 1)), "only new steps"
    assert losses[FORK_EPOCHS] == pytest.approx(steps_of(parent)[at], abs=1e-5)
    assert "test/accuracy" in trained.metrics
    study = client.study("still")
    assert (study.state, study.num_trials) == (StudyState.COMPLETED, {TrialState.COMPLETED: 1})
    assert client.trial("still", 0).series == parent.series


def test_a_killed_fork_resumes_from_its_own_checkpoint(
    live: Service,
    client: Client,
    worker: Start,
    capsys: pytest.CaptureFixture[str],
) -> None:
    client.create_study(forkable("killed"))
    process = worker("killed", "killed")
    assert process.wait(DONE_SECONDS) == 0
    fork = forked(client, live, "killed", capsys, "optimizer.lr=3e-3", "epochs=120", "schedule.name=cosine")
    process = worker("killed", "killed")
    assert eventually(lambda: (client.trial("killed", fork).step or 0) > FORK_EPOCHS, DONE_SECONDS)
    os.kill(child_of(process), signal.SIGKILL)
    assert process.wait(DONE_SECONDS) == 0
    trained = client.trial("killed", fork)
    at = trained.parent_step
    assert at is not None
    assert [attempt.failure for attempt in trained.attempts] == [FailureClass.PROCESS_KILLED, None]
    assert trained.state is TrialState.COMPLETED
    assert list(steps_of(trained)) == list(range(at + 1, 121))
    assert trained.config is not None
    assert (trained.config["epochs"], trained.config["schedule"]) == (120, {"name": "cosine"})
