"""The example studies and a user's own data with small budgets: real service, real worker, improving results."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_wine

from examples.draw_digits import draw
from service.cli.main import main
from service.client import Client, study_file
from service.client.spec import parse
from service.contract.base import TaskKind
from service.contract.study import StudySpec, StudyState, StudyView
from service.contract.trial import TrialState
from tests.support.forked_commands import TRAINING
from tests.support.service import ROOT, Service
from tests.worker.waiting import eventually

pytestmark = pytest.mark.prove

NUM_TRIALS = 4
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


@pytest.fixture(scope="module")
def client(shared_service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a service that one CPU worker works for."""
    directory = tmp_path_factory.mktemp("worker")
    with (directory / "worker.log").open("wb") as log:
        command = [sys.executable, "-m", "worker", "--cpu", "--threads", "1", "--allow-functions", "--allow-commands"]
        command += ["--register", "examples.own_model", "--server", shared_service.url, "--state-dir", str(directory)]
        command += ["--data", ".", "--data", str(tmp_path_factory.getbasetemp())]
        worker = TRAINING.popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        with Client(shared_service.url) as opened:
            assert eventually(lambda: opened.catalogue().custom, 60.0), (directory / "worker.log").read_text()
            yield opened
    finally:
        worker.terminate()
        assert worker.wait(30) == 0, (directory / "worker.log").read_text()


def small(spec: StudySpec) -> StudySpec:
    budget = spec.budget.model_copy(update={"trials": NUM_TRIALS})
    return spec.model_copy(update={"budget": budget, "preflight": "off"})


def finish(client: Client, spec: StudySpec) -> StudyView:
    study = client.create_study(spec)
    for _ in client.stream(study.name):
        pass
    study = client.study(study.name)
    assert study.state is StudyState.COMPLETED
    assert study.num_trials.get(TrialState.FAILED, 0) == 0
    assert study.best is not None or study.pareto_front
    return study


def test_the_example_with_two_objectives_finds_a_front(client: Client) -> None:
    study = finish(client, small(study_file.load(ROOT / "examples" / "digits_small.yaml")))
    front = client.front(study.name)
    assert [trial.number for trial in front.trials] == study.pareto_front
    assert (front.hypervolume or 0) > 0.3 * 10_000
    for trial in front.trials:
        assert trial.values is not None
        assert trial.values[1] == trial.metrics["num_parameters"]


@pytest.mark.parametrize("path", [path for path in EXAMPLES if path.stem != "digits_small"], ids=lambda path: path.stem)
def test_an_example_finds_something(client: Client, path: Path, tmp_path: Path) -> None:
    spec = small(study_file.load(path))
    if path.stem == "images":
        draw(tmp_path)
        assert spec.task is not None
        assert spec.task.train is not None
        spec.task.train["data"]["path"] = str(tmp_path)
    study = finish(client, spec)
    best = client.best(study.name)
    assert best.values is not None
    if study.spec.task_kind is not TaskKind.COMMAND:  # a script has nowhere to say what is no step
        assert any(name.startswith("test/") for name in best.metrics)
    assert study.reference_summary is not None, "every example knows what to compare with"
    assert re.match(r"reaches [^;]*\bbaseline ", study.reference_summary)


def test_a_first_study_as_init_writes_it_finds_something(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert (
        main(["init", str(ROOT / "examples" / "data" / "diabetes.csv"), "--target", "progression", "--name", "mine"])
        == 0
    )
    study = finish(client, small(study_file.load("mine.yaml")))
    assert re.match(r"reaches [^;]*\bbaseline ", study.reference_summary or "")


def wine_study(path: Path, **data: Any) -> StudySpec:
    train = {
        "data": {"name": "csv", "path": str(path), "target": "kind", "val_fraction": 0.3, "seed": 0, **data},
        "model": {"name": "mlp", "hidden": [32]},
        "loss": {"name": "cross_entropy"},
        "optimizer": {"name": "adamw", "lr": 1e-2},
        "epochs": 10,
    }
    return parse(
        {
            "name": "wine-of-my-own",
            "objective": {"metric": "val/accuracy", "direction": "maximize", "value": "best"},
            "task": {"train": train},
            "preflight": "off",
            "space": {"optimizer.lr": {"type": "float", "low": 1e-3, "high": 1e-1, "log": True}},
            "sampler": "random",
            "budget": {"trials": 3},
        }
    )


def test_a_csv_of_ones_own_trains_a_classifier(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "wine.csv"
    wine = load_wine()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*wine.feature_names, "kind"])
        for features, target in zip(wine.data, wine.target, strict=True):
            writer.writerow([*features, wine.target_names[target]])
    best = finish(client, wine_study(path)).best
    assert best is not None
    assert best.values is not None
    assert best.values[0] > 0.9


def test_a_wrong_target_is_reported_with_the_trial_and_not_retried(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "two.csv"
    path.write_text("a,sort\n" + "1,x\n2,y\n" * 20)
    spec = wine_study(path).model_copy(update={"name": "wrong-target"})
    study = client.create_study(spec)
    for _ in client.stream(study.name):
        if client.study(study.name).state is StudyState.PAUSED:  # after three trials that ended alike
            break
    assert "data.target" in (client.study(study.name).state_reason or "")
    trial = client.trial(study.name, 0)
    assert trial.infeasible
    assert trial.num_attempts == 1
    assert trial.state_reason is not None
    assert "data.target" in trial.state_reason
    assert trial.values is None
