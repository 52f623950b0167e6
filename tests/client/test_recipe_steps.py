"""`study init --recipe steps`: a staged study that the service accepts for any data, and that finds good digits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from benchmarks import local_study
from service.cli.main import main
from service.client import Client, study_file
from service.contract.catalogue import load_catalogue
from service.contract.sampler import CoarseToFineSamplerSpec, Stage
from service.contract.study import StudySpec
from service.contract.trial import TrialState
from service.domain.history import TrialRecord
from service.search.validation import with_resource
from tests.client.sources import CASES, folder, labelled, table
from tests.support.service import Service
from worker.training import TrainingConfig
from worker.training.data import DATA

RATES = [1e-4, 1e-3, 1e-2, 1e-1]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def client(shared_service: Service) -> Iterator[Client]:
    with Client(shared_service.url) as opened:
        yield opened


def steps_of(*words: str) -> StudySpec:
    """The study that is written."""
    Path("steps.yaml").unlink(missing_ok=True)
    assert main(["init", *words, "--recipe", "steps", "--out", "steps.yaml"]) == 0
    return study_file.load("steps.yaml")


def stages_of(spec: StudySpec) -> list[Stage]:
    assert isinstance(spec.sampler, CoarseToFineSamplerSpec)
    assert spec.sampler.stages is not None
    return spec.sampler.stages


@pytest.mark.parametrize("case", CASES)
def test_the_written_steps_can_be_planned_and_every_stage_trained(client: Client, case: str) -> None:
    make, words = CASES[case]
    spec = steps_of(make(), *words)
    plan = client.post_plan(spec)
    assert [part.trials for part in plan.parts] == [4, 4, 12, 6]
    assert (spec.preflight, spec.pruner.name) == ("require", "none")
    sizes = []
    for number in range(4):
        trial = TrialRecord(0, TrialState.RUNNING, {"optimizer.lr": 0.01, "optimizer.weight_decay": 0}, stage=number)
        config = TrainingConfig.from_mapping(local_study.configuration(spec, trial))
        assert config.schedule.name == "constant"
        sizes.append(len(DATA.create(config.data.name, config.data.settings).train))
    assert sizes[0] < sizes[1] == sizes[2] == sizes[3]


def test_each_step_says_why_it_is_there() -> None:
    steps_of("digits")
    lines = Path("steps.yaml").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if line.startswith("    - {trials:"):
            assert lines[number - 1].startswith("    # ")
    assert max(len(line) for line in lines if "overrides" not in line) <= 120


def test_it_starts_with_few_classes_small_images_and_enough_of_the_rarest_class() -> None:
    first = stages_of(steps_of("digits"))[0]
    assert first.overrides == {"data.classes": 3, "data.limit": 256}
    assert first.fixed == {"optimizer.weight_decay": 0}
    assert "data.classes" not in stages_of(steps_of("wine"))[0].overrides
    assert stages_of(steps_of(folder()))[0].overrides["data.size"] == 16
    rare = table("rare.csv", labelled(*"a" * 99, "b", num=4000))
    assert stages_of(steps_of(rare, "--target", "y"))[0].overrides["data.limit"] == 1000


def test_the_steps_lead_to_a_good_model_of_digits() -> None:
    spec = with_resource(steps_of("digits"), load_catalogue())
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        history, results = local_study.run(shortened(spec, few=1, long=4))
    finally:
        torch.set_num_threads(before)
    check_steps(history.trials)
    best = history.best("maximize", {0})
    assert best is not None
    assert best.stage == 3
    assert results[best.number].metrics["test/accuracy"] > 0.9


def shortened(spec: StudySpec, few: int, long: int) -> StudySpec:
    """The same study with shorter trainings."""
    stages = [
        stage.model_copy(update={"resource": long if stage.fixed == {} and at == 3 else few})
        for at, stage in enumerate(stages_of(spec))
    ]
    assert spec.task is not None
    assert spec.task.train is not None
    task = spec.task.model_copy(update={"train": {**spec.task.train, "epochs": long}})
    resource = spec.resource and spec.resource.model_copy(update={"max": long})
    sampler = spec.sampler.model_copy(update={"stages": stages})
    return spec.model_copy(update={"sampler": sampler, "task": task, "resource": resource})


def check_steps(trials: Sequence[TrialRecord]) -> None:
    """Check the order of the steps: rates alone twice, the product around the best rate, then longer trainings."""
    by_stage = [[trial for trial in trials if trial.stage == stage] for stage in range(4)]
    assert [len(each) for each in by_stage] == [4, 4, 12, 6]
    for stage, decay in ((0, 0), (1, 1e-4)):
        assert [trial.parameters["optimizer.lr"] for trial in by_stage[stage]] == pytest.approx(RATES)
        assert {trial.parameters["optimizer.weight_decay"] for trial in by_stage[stage]} == {decay}
    best = max(by_stage[1], key=lambda trial: -math.inf if trial.value is None else trial.value)
    best_rate = best.parameters["optimizer.lr"]
    assert isinstance(best_rate, float)
    rates = {float(str(trial.parameters["optimizer.lr"])) for trial in by_stage[2]}
    assert len(rates) >= 4
    assert all(abs(math.log10(rate / best_rate)) < 1.01 for rate in rates)
    assert {trial.parameters["optimizer.weight_decay"] for trial in by_stage[2]} == {0, 1e-5, 1e-4}
