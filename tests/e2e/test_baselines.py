"""A real worker fits the baselines of digits before trial 0, and a search that stays below linear says so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service.client import Client
from service.contract.study import StudyState
from tests.e2e.test_preflight import SECONDS, worker_for
from tests.support.forked_commands import COMMANDS
from tests.support.service import Service

pytestmark = pytest.mark.prove

STUDY: dict[str, Any] = {
    "name": "too-slow",
    "objective": {"metric": "val/accuracy", "direction": "maximize"},
    "task": {
        "train": {
            "data": {"name": "digits", "limit": 400},
            "model": {"name": "mlp", "hidden": [32]},
            "loss": {"name": "cross_entropy"},
            "optimizer": {"name": "sgd"},
            "epochs": 1,
        }
    },
    "space": {"optimizer.lr": {"type": "float", "low": 1e-6, "high": 1e-5, "log": True}},
    "sampler": "random",
    "budget": {"trials": 1},
    "reference": {"human": 0.99},
}


def study(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "service.cli.main", "--server", service.url, *arguments]
    return COMMANDS.run(command, capture_output=True, text=True, timeout=SECONDS)


@pytest.mark.timeout(SECONDS)
def test_a_search_that_stays_below_the_linear_baseline_says_so(shared_service: Service, tmp_path: Path) -> None:
    with Client(shared_service.url) as client:
        client.create_study(STUDY)
        with worker_for(shared_service, tmp_path, "too-slow") as worker:
            assert worker.wait(SECONDS) == 0
        assert client.study("too-slow").state is StudyState.COMPLETED
    assert "below_linear" in study(shared_service, "diagnose", "too-slow", "--wait").stdout
    view = json.loads(study(shared_service, "show", "too-slow", "--json").stdout)
    names = ["human", "majority", "linear", "hist_boosting", "random_forest"]
    assert [each["name"] for each in view["references"]] == names
    values = {each["name"]: each["value"] for each in view["references"]}
    assert values["linear"] > 0.9
    assert values["majority"] < 0.2
    assert view["best"]["values"][0] < values["linear"]
    finding = view["findings"][0]
    assert finding["rule"] == "below_linear"
    assert f"{values['linear']:.4g} of a linear model on the same data" in finding["sentence"]
    assert "is worse than" in study(shared_service, "show", "too-slow").stdout
    assert "linear" in study(shared_service, "preflight", "too-slow").stdout
