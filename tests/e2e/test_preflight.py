"""A study file is checked by a real worker before its search begins, and the search follows when its user agrees."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from service.client import Client
from service.client.spec import parse as study_spec
from service.contract.study import PauseCause, StudyState
from tests.support.forked_commands import COMMANDS, TRAINING
from tests.support.service import Service

pytestmark = pytest.mark.prove

SECONDS = 240.0
STUDY = """\
name: {name}
objective: {{metric: val/accuracy, direction: maximize}}
task:
  train:
    data: {{name: digits, limit: 400}}
    model: {{name: mlp, hidden: [32]}}
    loss: {{name: cross_entropy}}
    optimizer: {{name: adamw}}
    epochs: 2
space:
  optimizer.lr: {{type: float, low: {low}, high: {high}, log: true}}
  batch_size: {{type: categorical, choices: [16, 32], ordered: true}}
sampler: random
budget: {{trials: 2, hours: 1}}
"""


@contextlib.contextmanager
def worker_for(service: Service, folder: Path, study: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "worker", "--cpu", "--threads", "1", "--server", service.url, "--until-done"]
    command += ["--state-dir", str(folder / "state"), "--study", study]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ASSAYER_")}
    process = TRAINING.popen(command, stderr=subprocess.DEVNULL, text=True, env=clean)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def preflight(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "service.cli.main", "preflight", "--server", service.url, *arguments]
    return COMMANDS.run(command, capture_output=True, text=True, timeout=SECONDS)


@pytest.mark.timeout(SECONDS)
def test_a_study_file_is_checked_and_its_search_waits_for_its_user(shared_service: Service, tmp_path: Path) -> None:
    file = tmp_path / "checked.yaml"
    file.write_text(STUDY.format(name="checked", low=1e-3, high=1e-1), encoding="utf-8")
    with Client(shared_service.url) as client:
        started = preflight(shared_service, str(file), "--no-wait")
        assert "created checked; its search waits for: study resume checked" in started.stderr
        with worker_for(shared_service, tmp_path, "checked") as worker:
            ended = preflight(shared_service, "checked", "--json")
            assert ended.returncode == 0, ended.stdout + ended.stderr
            result = json.loads(ended.stdout)["result"]
            failed = [check["sentence"] for check in result["checks"] if check["status"] == "failed"]
            assert failed == []
            assert {check["number"] for check in result["checks"]} == set(range(1, 10))
            assert result["seconds_per_epoch"] > 0
            study = client.study("checked")
            assert (study.state, study.pause_cause) == (StudyState.PAUSED, PauseCause.PREFLIGHT)
            assert client.trials("checked").trials == []
            client.resume("checked")
            assert worker.wait(SECONDS) == 0
        assert client.study("checked").state is StudyState.COMPLETED
        assert [trial.number for trial in client.trials("checked").trials] == [0, 1]


@pytest.mark.timeout(SECONDS)
def test_a_space_of_senseless_rates_fails_its_preflight_with_what_to_do(
    shared_service: Service, tmp_path: Path
) -> None:
    file = tmp_path / "senseless.yaml"
    file.write_text(STUDY.format(name="senseless", low=1e4, high=1e6), encoding="utf-8")
    preflight(shared_service, str(file), "--no-wait")
    with worker_for(shared_service, tmp_path, "senseless"):
        ended = preflight(shared_service, "senseless")
    assert ended.returncode == 1
    assert "the preflight of senseless did not pass" in ended.stderr
    assert "learning rate" in ended.stdout
    assert "Begin with optimizer.lr = " in ended.stdout


@pytest.mark.timeout(SECONDS)
def test_single_checks_run_on_this_machine_without_a_service(tmp_path: Path) -> None:
    file = tmp_path / "alone.yaml"
    file.write_text(STUDY.format(name="alone", low=1e-3, high=1e-1), encoding="utf-8")
    base = [sys.executable, "-m", "service.cli.main"]
    fitted = COMMANDS.run(
        [*base, "overfit", str(file), "--html", str(tmp_path / "fit.html")], capture_output=True, text=True
    )
    assert fitted.returncode == 0, fitted.stderr
    assert "The model fits 16 examples" in fitted.stdout
    assert "<polyline" in (tmp_path / "fit.html").read_text(encoding="utf-8")
    found = COMMANDS.run([*base, "lr-range", str(file), "--json"], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    rates = json.loads(found.stdout)["learning_rate"]
    assert rates["falls"] < rates["proposed"] <= rates["explodes"]


@pytest.mark.timeout(SECONDS)
def test_a_preflight_sets_the_batch_size_and_the_rates_before_the_first_trial(
    shared_service: Service, tmp_path: Path
) -> None:
    document = yaml.safe_load(STUDY.format(name="guided", low=1e-6, high=10.0))
    del document["space"]["batch_size"]
    document["task"]["train"]["batch_size"] = "auto"
    document |= {"preflight_rates": "apply", "preflight": "warn"}
    with Client(shared_service.url) as client:
        client.create_study(document)
        with worker_for(shared_service, tmp_path, "guided") as worker:
            assert worker.wait(SECONDS) == 0
        study = client.study("guided")
        assert study.spec_version == 2
        assert study.spec.task is not None
        assert study.spec.task.train is not None
        assert study.spec.task.train["batch_size"] == 64
        rates = study.spec.space["optimizer.lr"].model_dump()
        result = client.preflight("guided").result
        assert result is not None
        assert result.learning_rate is not None
        assert 1e-6 < rates["low"] < result.learning_rate.proposed < rates["high"] < 10
        trials = client.trials("guided").trials
        assert len(trials) == 2
        assert all(rates["low"] <= float(trial.parameters["optimizer.lr"]) <= rates["high"] for trial in trials)  # type: ignore[arg-type]
        plan = client.post_plan(study_spec(document))
        assert plan.step_seconds == result.seconds_per_epoch
