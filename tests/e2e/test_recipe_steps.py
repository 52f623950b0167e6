"""What `study init --recipe steps` writes for digits, as it is written, by a real service and a real worker."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from service.cli.main import main
from service.client import Client, study_file
from service.contract.study import StudyState
from service.contract.trial import TrialState
from service.domain.history import TrialRecord
from tests.client.test_recipe_steps import check_steps
from tests.support.forked_commands import TRAINING
from tests.support.service import ROOT, Service

pytestmark = pytest.mark.prove


def test_a_search_in_steps_runs_to_its_end(
    shared_service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "digits", "--recipe", "steps", "--name", "in-steps"]) == 0
    with Client(shared_service.url) as client, (tmp_path / "worker.log").open("wb") as log:
        study = client.create_study(study_file.load("in-steps.yaml"))
        command = [sys.executable, "-m", "worker", "--cpu", "--threads", "1", "--server", shared_service.url]
        command += ["--state-dir", str(tmp_path), "--study", study.name, "--until-done"]
        worker = TRAINING.popen(command, cwd=ROOT, stdout=log, stderr=log)
        assert worker.wait(240) == 0, (tmp_path / "worker.log").read_text()
        view = client.study(study.name)
        assert view.state is StudyState.COMPLETED, view.state_reason
        assert view.preflight is not None
        assert view.preflight.state is TrialState.COMPLETED, view.preflight.state_reason
        trials = client.trials(study.name).trials
        assert client.stages(study.name).num_stages == 4
    records = [
        TrialRecord(
            each.number or 0, each.state, each.parameters, value=each.values and each.values[0], stage=each.stage
        )
        for each in trials
    ]
    check_steps(sorted(records, key=lambda trial: trial.number))
    assert view.best is not None
    assert view.best.stage == 3
    assert view.best.values is not None
    assert view.best.values[0] > 0.95
