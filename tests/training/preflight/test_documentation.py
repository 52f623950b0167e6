"""docs/preflight.md lists every check by its number, its example runs, and other processes load none of it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.training.preflight.planted_faults import held_out, tuning
from worker.training import TrainingConfig
from worker.training.preflight import PreflightResult, SearchSpace, run_preflight

DOCUMENT = (Path(__file__).parents[3] / "docs" / "preflight.md").read_text(encoding="utf-8")


def test_every_check_is_listed_with_its_number() -> None:
    listed = {
        (int(number), name)
        for number, names in re.findall(r"^\| (\d) \| (.*?) \|", DOCUMENT, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", names)
    }
    of_own_code = {(7, "same_seed"), (9, "parameters")}  # listed once more
    assert of_own_code <= listed
    ran: set[tuple[int, str]] = set()
    for data, loss in (("wine", "cross_entropy"), ("diabetes", "mse")):
        task = {
            "data": {"name": data}, "model": {"name": "linear"}, "loss": {"name": loss}, "optimizer": {"name": "sgd"},
            "batch_size": 32,
        }  # fmt: skip
        result = run_preflight(TrainingConfig.from_mapping(task), SearchSpace(task), seconds=60)
        ran |= {(check.number, check.name) for check in result.checks}
    assert listed == ran


def test_the_example_runs() -> None:
    found = re.search(r"^```python\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert found
    names: dict[str, Any] = {"__name__": "theirs"}
    exec(found[1], names)
    result = names["result"]
    assert isinstance(result, PreflightResult)
    assert result.checks


def test_the_number_of_faults_is_told() -> None:
    assert f"{len(tuning.FAULTS)} of {len(tuning.FAULTS)}" in DOCUMENT
    assert f"of {len(held_out.FAULTS)}" in DOCUMENT


@pytest.mark.prove
def test_a_training_process_does_not_load_the_preflight() -> None:
    modules = "worker.trial.zygote, worker.trial.classify, worker.trial.execute"
    code = f"import sys, {modules}; print([m for m in sys.modules if m.startswith('worker') and 'preflight' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
