"""The callback in a real Lightning Trainer: reports epochs, follows verdicts, resumes from checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.worker.custom_code import Agent, trial_and_agent
from worker.protocol import CheckpointSaved, Report
from worker.trial.trial import Trial

pytestmark = pytest.mark.filterwarnings("ignore")


def fit(trial: Trial, folder: Path, **settings: Any) -> None:
    """Import Lightning in the process that runs these tests; at the top, every process of a test run would load it."""
    from tests.worker.integrations import lightning_training  # noqa: PLC0415

    lightning_training.fit(trial, folder, **settings)


def reports(agent: Agent) -> tuple[list[Report], list[CheckpointSaved]]:
    heard = agent.heard()
    return [each for each in heard if isinstance(each, Report)], [
        each for each in heard if isinstance(each, CheckpointSaved)
    ]


def test_epochs_are_reported_and_a_paused_trial_resumes_unchanged(tmp_path: Path) -> None:
    with trial_and_agent(tmp_path / "straight") as (trial, agent):
        fit(trial, tmp_path)
        straight, saved = reports(agent)
    assert [report.step for report in straight] == [saved.step for saved in saved] == [1, 2, 3, 4]
    assert set(straight[0].metrics) == {"loss", "train/loss"}
    assert straight[3].metrics["loss"] < straight[0].metrics["loss"]
    with trial_and_agent(tmp_path / "first", run_until=2, pauses=True) as (trial, agent):
        fit(trial, tmp_path)
        begun, saved = reports(agent)
    assert begun == straight[:2]
    resumed = {"resume_step": 2, "resume": saved[-1].path}
    with trial_and_agent(tmp_path / "second", **resumed) as (trial, agent):
        fit(trial, tmp_path)
        assert reports(agent)[0] == straight[2:]


def test_a_verdict_to_stop_stops_the_trainer(tmp_path: Path) -> None:
    with trial_and_agent(tmp_path) as (trial, agent):
        agent.order("stop")
        fit(trial, tmp_path)
        assert [report.step for report in reports(agent)[0]] == [1]
        assert trial.last_order.action == "stop"


def test_only_what_was_validated_is_reported_and_steps_are_the_study_s_resource(tmp_path: Path) -> None:
    with trial_and_agent(tmp_path, resource="step") as (trial, agent):
        fit(trial, tmp_path, check_val_every_n_epoch=2)
        assert [report.step for report in reports(agent)[0]] == [4, 8]
