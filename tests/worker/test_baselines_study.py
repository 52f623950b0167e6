"""`worker baselines`: fits simple models on a study file's data, and shows their values beside each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from worker import baselines_study


def study(folder: Path, **changes: Any) -> str:
    spec = {
        "name": "compared",
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


def test_a_row_per_baseline_shows_the_objective_and_the_plain_loss(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    assert baselines_study.main([study(tmp_path), "--threads", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["baseline", "val/accuracy", "val/cross_entropy", "seconds", "model"]
    assert [line.split()[0] for line in lines[1:]] == ["majority", "linear", "hist_boosting", "random_forest"]
    assert lines[2].rstrip().endswith("logistic regression, C = 1")
    assert 0.8 < float(lines[2].split()[1]) <= 1


def test_json_has_all_metrics_by_the_names_of_a_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert baselines_study.main([study(tmp_path), "--json", "--threads", "1"]) == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert {"val/loss", "val/accuracy", "val/f1_macro", "train/accuracy"} <= set(found["linear"]["metrics"])
    assert not any(name.startswith("test/") for each in found.values() for name in each["metrics"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": {"function": "mine:train"}}, "task: a task of the kind function does not say what its data is"),
        ({"task": None}, "task: a task of the kind external does not say what its data is"),
        ({"objective": {"metric": "val/accuracy"}}, "objective"),
    ],
)
def test_a_study_without_data_is_refused_in_a_sentence(
    changes: dict[str, Any], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert baselines_study.main([study(tmp_path, **changes)]) == 2
    assert words in capsys.readouterr().err


def test_data_outside_the_allowed_folders_is_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "t.csv").write_text("a,b\n1,x\n2,y\n")
    (tmp_path / "allowed").mkdir()
    task = yaml.safe_load(Path(study(tmp_path)).read_text())["task"]
    task["train"]["data"] = {"name": "csv", "path": str(tmp_path / "secret" / "t.csv"), "target": "b"}
    assert baselines_study.main([study(tmp_path, task=task), "--data", str(tmp_path / "allowed")]) == 2
    assert "data.path" in capsys.readouterr().err
