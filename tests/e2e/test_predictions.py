"""Predictions reach the service even if the agent is killed before it has uploaded them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest

from service.contract.problem import ErrorCode
from tests.support.forked_commands import TRAINING
from tests.worker.grants import digits, grant
from tests.worker.scripted_service import Body, problem, scripted_service
from tests.worker.waiting import eventually

pytestmark = pytest.mark.prove

START_SECONDS = 60.0


def start(server: str, state: Path) -> subprocess.Popen[bytes]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ASSAYER_")}
    command = [sys.executable, "-m", "worker", "--cpu", "--threads", "1", "--server", server, "--state-dir", str(state)]
    return TRAINING.popen([*command, "--until-done", "--study", "predicted"], env=clean)


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
        name = script.asked_of("predictions")[0]["sha256"]
        assert name not in script.blobs

        def wants(_: Body) -> tuple[int, Body]:
            return (200, {"kept": True}) if name in script.blobs else problem(409, ErrorCode.BLOB_MISSING)

        script.predictions = wants
        assert start(script.url, tmp_path).wait(START_SECONDS) == 0
        assert pyarrow.parquet.read_table(io.BytesIO(script.blobs[name])).num_rows > 0
        assert len(script.asked_of("finish")) == 1
    assert list(tmp_path.rglob("*.parquet")) == []
