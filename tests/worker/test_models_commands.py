"""`worker export-model`, `worker predict` and `study predict`: what they print, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sklearn.datasets import load_wine

from service.cli import main as study
from worker import export_model, predict_examples
from worker.training import TrainingConfig, train


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    sections = {"data": {"name": "wine"}, "model": {"name": "linear"}, "loss": {"name": "cross_entropy"}}
    settings = {"optimizer": {"name": "sgd"}, "batch_size": 32, "epochs": 1}
    train(TrainingConfig.from_mapping(sections | settings), checkpoint_dir=folder)
    return next(folder.glob("*.pt"))


@pytest.fixture
def wines(tmp_path: Path) -> Path:
    wine = load_wine()
    lines = [",".join(wine.feature_names), *(",".join(map(str, row)) for row in wine.data)]
    (tmp_path / "wines.csv").write_text("\n".join(lines))
    return tmp_path / "wines.csv"


def test_a_bundle_is_written_and_predicts(
    checkpoint: Path, wines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export_model.main([str(checkpoint), "--out", str(tmp_path / "m.zip"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "out": str(tmp_path / "m.zip"), "format": "bundle", "step": 1, "models": "1 model",
    }  # fmt: skip
    words = ["--data", str(wines), "--threads", "1"]
    assert predict_examples.main([str(tmp_path / "m.zip"), *words, "--out", str(tmp_path / "a.csv"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["rows"], sum(summary["classes"].values())) == (178, 178)
    assert predict_examples.main([str(checkpoint), *words, "--out", str(tmp_path / "b.csv")]) == 0
    assert capsys.readouterr().out.startswith(f"wrote {tmp_path / 'b.csv'}: 178 predictions\n  class_")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--data", "gone.csv", "--out", "o.csv"], "worker predict: data: there is no 'gone.csv'"),
        (["--data", "wines.csv", "--out", "o.txt"], "out: the file's name must end with .csv or .parquet"),
        (["--data", "wines.csv", "--out", "no/o.csv"], "out: there is no folder 'no'; make it first"),
    ],
)
def test_what_cannot_be_predicted_is_one_sentence(
    words: list[str],
    sentence: str,
    checkpoint: Path,
    wines: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(wines.parent)
    assert predict_examples.main([str(checkpoint), *words, "--threads", "1"]) == 2
    assert sentence in capsys.readouterr().err


def test_a_file_that_is_no_checkpoint_cannot_be_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "no.pt").write_text("text")
    assert export_model.main([str(tmp_path / "no.pt"), "--out", str(tmp_path / "m.zip")]) == 2
    assert "worker export-model: checkpoint: " in capsys.readouterr().err
    assert not (tmp_path / "m.zip").exists()


def test_study_predict_takes_either_a_study_or_a_bundle(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["name", "--bundle", "m.zip"]):
        with pytest.raises(SystemExit) as ended:
            study.main(["predict", *words, "--data", "x.csv", "--out", "y.csv"])
        assert ended.value.code == 2
        assert "give the NAME of a study, or --bundle FILE" in capsys.readouterr().err


def test_without_torch_study_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("service.cli.commands.models.find_spec", lambda name: None)
    assert study.main(["predict", "--bundle", "m.zip", "--data", "x.csv", "--out", "y.csv"]) == 1
    assert "pip install 'assayer[worker]'" in capsys.readouterr().err
