"""A fork by a real worker: it begins with its parent's weights, trains only what is new, and survives a SIGKILL."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from service.client import Client
from service.client.cli import main as study_command
from service.contract.lease import FailureClass
from service.contract.study import StudyState
from service.contract.trial import TrialDetail, TrialState
from tests.e2e.test_resume import Start, client, live, weights, worker  # noqa: F401 - fixtures
from tests.e2e.test_worker import child_of, spec
from tests.support.service import Service
from tests.worker.grants import digits
from tests.worker.waiting import eventually

pytestmark = pytest.mark.slow

DONE_SECONDS = 240.0
NUM_EPOCHS = 40


def study_of(name: str) -> dict[str, Any]:
    """One trial of a few seconds that saves a checkpoint after every epoch."""
    task = digits(
        data={"name": "digits", "seed": 0},
        model={"name": "mlp", "hidden": [256, 256]},
        batch_size=32,
        epochs=NUM_EPOCHS,
    )
    return spec(name, trials=1, task=task)


def steps_of(trial: TrialDetail, metric: str = "val/loss") -> dict[int, Any]:
    (series,) = (series for series in trial.series if series.metric == metric)
    return dict(zip(series.steps, series.values, strict=True))


def forked(client: Client, live: Service, study: str, capsys: pytest.CaptureFixture[str], *changes: str) -> str:  # noqa: F811
    """Fork the study's trial by the command, from its newest checkpoint; the fork's id."""
    assert study_command(["--server", live.url, "fork", study, "0", "--set", *changes]) == 0
    assert capsys.readouterr().out.startswith("forked from trial 0 at step ")
    return client.forks(study).trials[-1].id


def test_a_fork_of_a_finished_study_goes_on_from_the_best_with_another_rate(
    live: Service,  # noqa: F811
    client: Client,  # noqa: F811
    worker: Start,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    client.create_study(study_of("still"))
    assert worker("still", "still").wait(DONE_SECONDS) == 0
    parent = client.trial("still", 0)
    # At a rate of almost nothing it is seen that the weights are the parent's.
    fork = forked(client, live, "still", capsys, "optimizer.lr=1e-12")
    assert client.study("still").state is StudyState.ACTIVE
    assert worker("still", "still").wait(DONE_SECONDS) == 0
    trained = client.trial("still", fork)
    at = trained.parent_step
    assert at is not None
    assert (trained.state, trained.step) == (TrialState.COMPLETED, NUM_EPOCHS)
    losses = steps_of(trained)
    assert list(losses) == list(range(at + 1, NUM_EPOCHS + 1)), "only new steps"
    assert losses[NUM_EPOCHS] == pytest.approx(steps_of(parent)[at], abs=1e-5)
    assert "test/accuracy" in trained.metrics
    study = client.study("still")
    assert (study.state, study.num_trials) == (StudyState.COMPLETED, {TrialState.COMPLETED: 1})
    assert client.trial("still", 0).series == parent.series


def test_a_fork_whose_process_is_killed_goes_on_from_its_own_checkpoint(
    live: Service,  # noqa: F811
    client: Client,  # noqa: F811
    worker: Start,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    client.create_study(study_of("killed"))
    process = worker("killed", "killed")
    assert process.wait(DONE_SECONDS) == 0
    fork = forked(client, live, "killed", capsys, "optimizer.lr=3e-3", "epochs=120", "schedule.name=cosine")
    process = worker("killed", "killed")
    assert eventually(lambda: (client.trial("killed", fork).step or 0) > NUM_EPOCHS, DONE_SECONDS)
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
