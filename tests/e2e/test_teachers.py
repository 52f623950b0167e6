"""The best trial of one study is kept, is the teacher of another study, and can be downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from service.cli import main
from service.client import Client
from service.contract.trial import TrialDetail, TrialState
from tests.support.forked_commands import forked_zygotes
from tests.support.service import Service
from tests.worker.grants import digits
from worker import try_trial
from worker.agent import AcceptedWork, Agent, ProcessSettings, SlotPlan, StorageSettings, cpu
from worker.training import load_models

pytestmark = pytest.mark.prove

RATES = {"optimizer.lr": {"type": "categorical", "choices": [1e-2, 1e-3]}}


@pytest.fixture(scope="module")
def client(shared_service: Service) -> Iterator[Client]:
    with Client(shared_service.url) as opened:
        yield opened


def searched(client: Client, directory: Path, name: str, train: dict[str, Any]) -> list[TrialDetail]:
    """The two trials of a study that a worker has carried out, which saves no checkpoint that is not asked for."""
    given = {
        "name": name,
        "objective": {"metric": "val/loss", "direction": "minimize"},
        "task": {"train": train},
        "preflight": "off",
    }
    client.create_study(given | {"space": RATES, "sampler": "grid"})
    with forked_zygotes():
        Agent(
            client,
            name=name,
            slots=[SlotPlan("cpu", [cpu()], 1)],
            work=AcceptedWork([name], until_done=True),
            processes=ProcessSettings(checkpoint_seconds=600.0),
            storage=StorageSettings(directory, disk_bytes=0),
        ).work()
    trials = [client.trial(name, number) for number in (0, 1)]
    assert [trial.state for trial in trials] == [TrialState.COMPLETED] * 2, [trial.attempts for trial in trials]
    return trials


def test_the_best_trial_s_model_is_kept_teaches_another_study_and_can_be_taken_home(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    searched(client, tmp_path, "teaching", digits(data={"name": "wine"}))
    loss = {"name": "distill", "teacher": "teaching/best", "weight": 1.0}
    searched(client, tmp_path, "taught", digits(data={"name": "wine"}, loss=loss, model={"name": "linear"}))

    best = client.best("teaching")
    grant = client.grant("taught", 0)
    assert grant.task is not None
    assert grant.task["loss"]["teacher"] == f"teaching/{best.number}"

    monkeypatch.chdir(tmp_path)
    assert main.main(["--server", client.server, "checkpoint", "teaching", "best"]) == 0
    [model] = load_models("teaching-best.pt")
    assert model(torch.zeros(1, 13)).shape == (1, 3)
    assert main.main(["--server", client.server, "checkpoint", "teaching", "best"]) != 0
    assert "already exists" in capsys.readouterr().err

    monkeypatch.syspath_prepend(tmp_path)  # what a try changes of this process is undone
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    said = ["taught", "--trial", "1", "--server", client.server, "--threads", "1"]
    assert try_trial.main(said) == 0
    reported = client.trial("taught", 1).values
    assert reported is not None
    assert f"val/loss {reported[0]:.5g}" in capsys.readouterr().out, "as when the worker carried it out"
