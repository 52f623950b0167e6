"""A study under ASHA: one of two workers is killed while it trains a promoted trial; final counts are exact."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.client import Client
from service.contract.study import StudyState
from service.contract.trial import AttemptState, TrialDetail, TrialState
from tests.e2e.test_worker import spec
from tests.support.forked_commands import TRAINING
from tests.support.service import Service, running_service
from tests.worker.grants import digits
from tests.worker.waiting import eventually

pytestmark = pytest.mark.prove

RUNGS = (3, 9, 27)


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Service]:
    short = {"ASSAYER_HEARTBEAT_SECONDS": "0.3", "ASSAYER_LEASE_SECONDS": "3", "ASSAYER_REAPER_SECONDS": "0.5"}
    with running_service(tmp_path, environment=short) as service:
        yield service


@pytest.fixture
def worker(live: Service, tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Start a worker on a named host of its own; whatever still works at the end is ended."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ASSAYER_")}
    with contextlib.ExitStack() as stack:

        def start(host: str) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", "worker", "--cpu", "--threads", "1", "--server", live.url, "--until-done"]
            command += ["--name", host, "--state-dir", str(tmp_path / host), "--study", "climbing"]
            process = TRAINING.popen(command, env=environment)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        yield start


def promoted_to_the_end(client: Client) -> list[TrialDetail]:
    """The trial that trains from the second rung to the last, once it has reported from there."""
    return [
        client.trial("climbing", trial.number or 0)
        for trial in client.trials("climbing").trials
        if trial.run_until == RUNGS[-1] and trial.state is TrialState.RUNNING and (trial.step or 0) > RUNGS[1] + 1
    ]


def test_a_killed_worker_changes_neither_counts_nor_what_was_trained(
    live: Service, worker: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    task = digits(
        data={"name": "digits", "val_fraction": 0.2, "test_fraction": 0.2, "seed": 0},
        model={"name": "mlp", "hidden": [256, 256]},
        schedule={"name": "cosine"},
        batch_size=32,
        epochs=RUNGS[-1],
    )
    with Client(live.url) as client:
        client.create_study(spec("climbing", trials=9, task=task, pruner={"name": "asha", "min": RUNGS[0]}))
        processes = {host: worker(host) for host in ("one", "two")}
        found: list[TrialDetail] = []
        assert eventually(lambda: found.extend(promoted_to_the_end(client)) or found, 120)
        victim = found[0].attempts[-1].worker
        processes.pop(victim).kill()
        for process in processes.values():
            assert process.wait(180) == 0

        study, trials = client.study("climbing"), client.trials("climbing").trials
        assert study.state is StudyState.COMPLETED
        assert study.notice is None
        assert [sum((trial.step or 0) >= rung for trial in trials) for rung in RUNGS] == [9, 3, 1]
        assert {trial.state for trial in trials} == {TrialState.COMPLETED, TrialState.PRUNED}
        last = client.trial("climbing", found[0].number or 0)
        assert last.state is TrialState.COMPLETED
        assert AttemptState.LOST in {attempt.state for attempt in last.attempts}
        assert all(
            series.steps == list(range(1, RUNGS[-1] + 1)) for series in last.series if "test/" not in series.metric
        )
    for trial, attempt, resumed, first, ended in steps_of_attempts(live):
        assert first == resumed + 1, f"attempt {attempt} of trial {trial} began at step {first}, not at {resumed + 1}"
        assert ended in RUNGS or (trial, attempt) == (last.number, 3), (
            f"attempt {attempt} of trial {trial} ended at {ended}"
        )


def steps_of_attempts(live: Service) -> list[tuple[int, int, int, int, int]]:
    """(trial, attempt, step of its checkpoint, first step it reported, last step) of all that reported."""
    with contextlib.closing(sqlite3.connect(f"file:{live.database}?mode=ro", uri=True)) as database:
        return database.execute(
            "SELECT trial.number, attempt.number, coalesce(attempt.resume_step, 0), min(report.step), max(report.step)"
            " FROM attempt JOIN trial ON trial.id = attempt.trial_id"
            " JOIN report ON report.trial_id = trial.id AND report.attempt = attempt.number GROUP BY 1, 2, 3"
        ).fetchall()
