"""`worker preflight`: checks a study file, prints a line per check, and tells the result by its exit status."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.service import ROOT
from worker import preflight_study
from worker.training.preflight import PreflightResult

EXAMPLE = str(ROOT / "examples" / "digits.yaml")


def study(folder: Path, **changes: Any) -> str:
    spec = {
        "name": "checked",
        "objective": {"metric": "val/accuracy", "direction": "maximize"},
        "task": {
            "train": {
                "data": {"name": "wine"}, "model": {"name": "linear"}, "loss": {"name": "cross_entropy"},
                "optimizer": {"name": "sgd"}, "batch_size": 32,
            }
        },
        "space": {"optimizer.lr": {"type": "float", "low": 1e-3, "high": 0.1, "log": True}},
        "budget": {"trials": 2},
    } | changes  # fmt: skip
    (folder / "study.yaml").write_text(yaml.safe_dump(spec))
    return str(folder / "study.yaml")


def test_the_digits_pass_within_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    started = time.process_time()  # of this process alone: other tests run beside it
    assert preflight_study.main([EXAMPLE, "--json", "--threads", "1"]) == 0
    assert time.process_time() - started < 10
    result = PreflightResult.from_mapping(json.loads(capsys.readouterr().out))
    assert {check.number for check in result.checks} == set(range(1, 10))
    assert result.status == "passed"
    tested = next(check for check in result.checks if check.name == "parameters").figures["tested"]
    assert tested == ["optimizer.name", "optimizer.lr", "optimizer.momentum", "model.dropout", "batch_size"]


def test_each_check_is_a_line_with_its_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert preflight_study.main([study(tmp_path), "--threads", "1"]) == 0
    told = capsys.readouterr().out
    assert "✓  1 one_step             One step runs: [32, 13] float32 to [32, 3] float32" in told
    assert "→" not in told
    assert " passed, " in told.splitlines()[-1]


def test_a_failed_check_says_what_to_do_and_sets_the_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space = {"optimizer.lr": {"type": "float", "low": 1e3, "high": 1e5, "log": True}}
    train = yaml.safe_load(Path(study(tmp_path)).read_text())["task"]["train"]
    file = study(tmp_path, task={"train": train | {"model": {"name": "mlp"}}}, space=space)
    assert preflight_study.main([file, "--only", "4", "--threads", "1"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("✗  4 learning_rate        The loss falls from ")
    assert lines[1].strip().startswith("→ Begin with optimizer.lr = ")
    assert lines[2].startswith("1 failed")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": {"command": ["train"]}}, "the study's task is a command, which this would start; allow it with"),
        ({"task": None}, "task: the study has none"),
        (
            {"space": {"optimizer.rate": {"type": "float", "low": 1, "high": 2}}},
            "optimizer.rate: optimizer 'sgd' has no",
        ),
        ({"objective": {"metric": "val/accuracy"}}, "objective"),
    ],
)
def test_a_study_that_cannot_be_checked_is_refused_in_a_sentence(
    changes: dict[str, Any], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert preflight_study.main([study(tmp_path, **changes)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("worker preflight: ")
    assert words in captured.err
    assert captured.out == ""


def test_a_file_outside_the_allowed_folders_is_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "table.csv").write_text("a,b\n" + "1,x\n2,y\n" * 30)
    train = yaml.safe_load(Path(study(tmp_path)).read_text())["task"]["train"]
    train["data"] = {"name": "csv", "path": str(tmp_path / "table.csv"), "target": "b"}
    file = study(tmp_path, task={"train": train})
    assert preflight_study.main([file, "--data", str(ROOT / "docs")]) == 2
    assert "table.csv" in capsys.readouterr().err
    assert preflight_study.main([file, "--data", str(tmp_path), "--only", "1"]) == 0


def test_a_missing_torch_is_named_with_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert preflight_study.main([study(tmp_path), "--threads", "1"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("worker preflight: torch cannot be imported (")
    assert "pip install 'assayer[worker]'" in told
