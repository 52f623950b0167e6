"""`worker try`: executes a trial in the foreground like an attempt, and records nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.client import Client
from service.contract.claim import ClaimRequest, Grant
from tests.support.forked_commands import TRAINING
from tests.support.service import ROOT, Service, running_service
from tests.worker.grants import digits

OWN = """
def train(trial):
    for step in range(1, 100):
        trial.report(step, {"loss": trial.parameters["x"] / step})
        if trial.should_stop:
            return


def broken(trial):
    raise ZeroDivisionError("as this test wants")
"""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture(scope="module")
def client(live: Service) -> Iterator[Client]:
    with Client(live.url) as connected:
        yield connected


def begin(client: Client, name: str, task: dict[str, Any], space: dict[str, Any] | None = None, **offers: Any) -> None:
    """A study of which trial 0 was made, by a worker that has gone quiet."""
    metric = "val/loss" if "train" in task else "loss"
    client.create_study(
        {
            "name": name,
            "objective": {"metric": metric, "direction": "minimize"},
            "task": task,
            "preflight": "off",
            "space": space or {"x": {"type": "float", "low": 1, "high": 2}},
            "budget": {"trials": 2},
        }
    )
    [kind] = task
    offered = {"tasks": [kind], "devices": [{"kind": "cpu", "name": "a processor", "memory_gib": 8}], **offers}
    request = {"request_id": f"request-{name}", "worker": "quiet", "studies": [name], "capabilities": offered}
    assert isinstance(client.claim(ClaimRequest.model_validate(request)), Grant)


def attempt(live: Service, folder: Path, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "own.py").write_text(OWN)
    command = [sys.executable, "-m", "worker", "try", "--server", live.url, *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return TRAINING.run(
        command, cwd=folder, env=environment, input=said, capture_output=True, text=True, check=False, timeout=120
    )


def test_a_training_is_tried_for_so_many_steps_and_the_service_hears_nothing(
    live: Service, client: Client, tmp_path: Path
) -> None:
    space = {"optimizer.lr": {"type": "float", "low": 1e-3, "high": 1e-2}}
    begin(client, "trained", {"train": digits(epochs=50)}, space)
    before = client.study("trained").revision
    result = attempt(live, tmp_path, "trained", "--trial", "0", "--steps", "12", "--threads", "1")
    assert result.returncode == 0, result.stderr
    rate = client.trial("trained", 0).parameters["optimizer.lr"]
    assert f"optimizer.lr = {rate}" in result.stdout
    assert "epoch 1: train/loss" in result.stdout
    assert "epoch 4:" not in result.stdout
    assert "the requested number of steps is done" in result.stdout
    assert client.study("trained").revision == before
    assert client.trial("trained", 0).series == []


def test_a_try_trains_the_configuration_of_the_grant(client: Client) -> None:
    begin(client, "granted", {"function": "own:train"})
    request = {
        "request_id": "request-granted",
        "worker": "quiet",
        "studies": ["granted"],
        "capabilities": {"tasks": []},
    }
    granted = client.claim(ClaimRequest.model_validate(request))
    tried = client.grant("granted", 0)
    own = {"attempt", "nonce", "lease_seconds"}
    assert tried.model_dump(exclude=own) == granted.model_dump(exclude=own)
    assert (tried.attempt, tried.nonce) == (0, "")


def test_a_function_is_tried_for_so_many_reports(live: Service, client: Client, tmp_path: Path) -> None:
    begin(client, "own", {"function": "own:train"})
    result = attempt(live, tmp_path, "own", "--trial", "0", "--steps", "3")
    assert result.returncode == 0, result.stderr
    assert [line for line in result.stdout.splitlines() if line.startswith("step")][-1].startswith("step 3: loss")
    assert client.trial("own", 0).series == []


@pytest.mark.prove
def test_a_failure_prints_its_traceback_and_exits_with_1(live: Service, client: Client, tmp_path: Path) -> None:
    begin(client, "broken", {"function": "own:broken"})
    result = attempt(live, tmp_path, "broken", "--trial", "0")
    assert result.returncode == 1
    assert "in broken" in result.stderr
    assert "failed: ZeroDivisionError: as this test wants" in result.stdout


@pytest.mark.prove
def test_the_debugger_begins_where_it_raised(live: Service, client: Client, tmp_path: Path) -> None:
    begin(client, "debugged", {"function": "own:broken"})
    result = attempt(live, tmp_path, "debugged", "--trial", "0", "--pdb", said="p trial.study\nq\n")
    assert "'debugged'" in result.stdout


@pytest.mark.prove
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "--trial", "0"], "there is no study 'nowhere'"),
        (["commanded", "--trial", "5"], "has no trial 5"),
        (["commanded", "--trial", "0"], "the trial's task is a command; start it yourself: python train.py --x="),
        (["commanded", "--trial", "0", "--steps", "0"], "--steps 0 is not a whole number above 0"),
        (["commanded", "--trial", "0", "--gpu", "99"], "there is no GPU 99"),
    ],
)
def test_an_impossible_try_is_one_sentence_and_status_2(
    live: Service, client: Client, tmp_path: Path, arguments: list[str], said: str
) -> None:
    if "commanded" not in [study.name for study in client.studies().studies]:
        begin(client, "commanded", {"command": ["python", "train.py"]})
    result = attempt(live, tmp_path, *arguments)
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.prove
def test_entries_of_the_users_own_are_tried_where_their_module_is_registered(
    live: Service, client: Client, tmp_path: Path
) -> None:
    net = """
from torch import nn
from worker.training.models import MODELS

@MODELS.add
def my_net(dataset, *, width: int = 8):
    return nn.Sequential(nn.Flatten(), nn.Linear(dataset.num_features, width), nn.Linear(width, dataset.num_outputs))
"""
    (tmp_path / "nets.py").write_text(net)
    told = client.register_entries(
        "quiet", {"model": {"my_net": {"parameters": {"width": {"type": "int", "default": 8}}}}}
    )
    space = {"model.width": {"type": "int", "low": 2, "high": 9}}
    begin(client, "registered", {"train": digits(epochs=1, model={"name": "my_net"})}, space, entries=told.entries)
    result = attempt(live, tmp_path, "registered", "--trial", "0", "--threads", "1", "--register", "nets")
    assert result.returncode == 0, result.stderr
    assert "epoch 1: train/loss" in result.stdout
    result = attempt(live, tmp_path, "registered", "--trial", "0", "--register", "nowhere")
    assert result.returncode == 2
    missing = f"there is no module 'nowhere' in {tmp_path} or on PYTHONPATH"
    assert f"cannot register nowhere: {missing}" in result.stderr
    result = attempt(live, tmp_path, "registered", "--trial", "0", "--register", "nets.nowhere")
    assert result.returncode == 2
    assert "worker try: cannot register nets.nowhere: " in result.stderr
