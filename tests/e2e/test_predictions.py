"""Predictions of a real worker come to the service, even if the agent is killed before it brought them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest

from service.client import Client
from service.contract.problem import ErrorCode
from tests.support.service import Service
from tests.worker.grants import digits, grant
from tests.worker.scripted import Body, problem, scripted_service
from tests.worker.waiting import eventually
from worker.training.data import DATA

pytestmark = pytest.mark.slow

START_SECONDS = 60.0


def start(server: str, state: Path) -> subprocess.Popen[bytes]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ASSAYER_")}
    command = [sys.executable, "-m", "worker", "--cpu", "--threads", "1", "--server", server, "--state-dir", str(state)]
    return subprocess.Popen([*command, "--until-done", "--study", "predicted"], env=clean)


def test_the_file_says_of_each_held_out_example_what_it_was_taken_for(service: Service, tmp_path: Path) -> None:
    data = {"limit": 300, "val_fraction": 0.2, "test_fraction": 0.1, "seed": 0}
    spec = {
        "name": "predicted",
        "objective": {"metric": "val/accuracy", "direction": "maximize", "value": "last"},
        "task": {"train": digits(data={"name": "digits", **data}, epochs=1)},
        "space": {"optimizer.lr": {"type": "float", "low": 1e-3, "high": 1e-2}},
        "sampler": "random",
        "budget": {"trials": 1},
    }
    with Client(service.url) as client:
        client.create_study(spec)
        assert start(service.url, tmp_path).wait(START_SECONDS) == 0
        table = pyarrow.parquet.read_table(io.BytesIO(client.predictions("predicted", 0)))
        trial = client.trial("predicted", 0)
    assert trial.confusion is not None
    whole = DATA.create("digits", DATA.check("digits", data))
    for split in ("val", "test"):
        rows = [row for row in table.to_pylist() if row["split"] == split]
        targets = dict(zip(whole.splits[split].ids.tolist(), whole.splits[split].targets.tolist(), strict=True))
        assert {row["id"]: int(row["target"]) for row in rows} == targets
        right = sum(row["target"] == row["prediction"] for row in rows)
        assert right / len(rows) == pytest.approx(trial.metrics[f"{split}/accuracy"])
        assert right == sum(row[at] for at, row in enumerate(trial.confusion.splits[split]))


def test_an_agent_that_is_killed_before_it_brought_them_leaves_them_to_the_next(tmp_path: Path) -> None:
    granted = grant(task=digits(epochs=1)).model_dump(mode="json")
    with scripted_service() as (script, _):
        done = {"kind": "nothing", "reason": "done", "retry_seconds": 0.05, "done": True}
        script.claim = lambda _: (200, {"kind": "grant"} | granted if not script.asked_of("finish") else done)
        script.predictions = lambda _: problem(503, ErrorCode.UNAVAILABLE)
        first = start(script.url, tmp_path)
        try:
            assert eventually(lambda: script.asked_of("predictions"), START_SECONDS)
        finally:
            first.kill()
            first.wait()
        assert script.blobs == {}

        def wants(body: Body) -> tuple[int, Body]:
            return (200, {"kept": True}) if script.blobs else problem(409, ErrorCode.BLOB_MISSING)

        script.predictions = wants
        assert start(script.url, tmp_path).wait(START_SECONDS) == 0
        [content] = script.blobs.values()
        assert pyarrow.parquet.read_table(io.BytesIO(content)).num_rows > 0
        assert len(script.asked_of("finish")) == 1
    assert list(tmp_path.rglob("*.parquet")) == []
