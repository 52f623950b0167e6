"""Study files are read as YAML 1.2; every mistake is one sentence with file, setting and remedy."""

from __future__ import annotations

import copy
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.client import InvalidStudy, study_file
from service.client.spec import parse
from service.client.study_file import dump, load, read
from service.contract.base import TaskKind
from service.contract.sampler import TpeSamplerSpec
from tests.support.forked_commands import COMMANDS
from tests.support.service import ROOT

STUDY = """
name: mine
objective: {metric: val/accuracy, direction: maximize, value: best}
task:
  train:
    data: {name: csv, path: rows.csv, target: y}
    optimizer: {name: adamw, lr: 1e-3}
space:
  optimizer.lr: {type: float, low: 1e-5, high: 1e-1, log: true}
  optimizer.name: {type: categorical, choices: [sgd, adamw]}
sampler: {name: tpe, seed: 7}
pruner: median
budget: {trials: 60}
"""

MISTAKES = {
    "a misspelt setting": ({"objectve": {}}, "objectve: no such setting; did you mean 'objective'?"),
    "a missing setting": ({"objective": None}, "objective: is missing; write `objective: {metric: val/accuracy"),
    "a misspelt nested setting": ({"budget": {"trails": 3}}, "budget.trails: no such setting; did you mean 'trials'?"),
    "another direction": (
        {"objective": {"metric": "m", "direction": "maximise"}},
        "objective.direction: must be 'maximize' or 'minimize', got 'maximise'",
    ),
    "another value": (
        {"objective": {"metric": "m", "direction": "maximize", "value": "bests"}},
        "objective.value: must be 'last' or 'best', got 'bests'",
    ),
    "a misspelt mean": (
        {"objective": {"metric": "m", "direction": "maximize", "value": {"mean_last": 3}}},
        "objective.value.mean_last: no such setting; did you mean 'mean_of_last'?",
    ),
    "an unknown sampler": ({"sampler": "tpee"}, "sampler: no such sampler 'tpee'; did you mean 'tpe'?"),
    "a sampler's unknown option": (
        {"sampler": {"name": "tpe", "sed": 3}},
        "sampler.sed: no such setting; did you mean 'seed'?",
    ),
    "a sampler without name": (
        {"sampler": {"seed": 3}},
        "sampler: needs 'name', one of: auto, grid, random, sobol, coarse_to_fine, tpe, gp, optuna:cmaes, optuna:gp, ",
    ),
    "a stage's sampler": (
        {"sampler": {"name": "coarse_to_fine", "stages": [{"trials": 3, "sampler": "tp"}, {"trials": 3}]}},
        "sampler.stages.0.sampler: must be 'grid', 'random', 'sobol' or 'tpe', got 'tp'",
    ),
    "an unknown pruner": ({"pruner": {"name": "medain"}}, "pruner: no such pruner 'medain'; did you mean 'median'?"),
    "an unknown type": (
        {"space": {"lr": {"type": "flaot", "low": 0, "high": 1}}},
        "space.lr: no such parameter type 'flaot'; did you mean 'float'?",
    ),
    "no type": (
        {"space": {"lr": {"low": 0, "high": 1}}},
        "space.lr: needs 'type', one of: float, int, categorical, constant",
    ),
    "a parameter's unknown option": (
        {"space": {"optimizer.lr": {"type": "float", "low": 0, "hihg": 1}}},
        "space.optimizer.lr.hihg: no such setting; did you mean 'high'?",
    ),
    "an empty range": (
        {"space": {"lr": {"type": "float", "low": 2, "high": 1}}},
        "space.lr: low must be below high, got low 2 and high 1",
    ),
    "a log range from zero": (
        {"space": {"lr": {"type": "float", "low": 0, "high": 1, "log": True}}},
        "space.lr: a log range must start above 0, got low 0",
    ),
    "a condition's unknown option": (
        {"space": {"lr": {"type": "int", "low": 0, "high": 1, "when": {"depth": {"lo": 3}}}}},
        "space.lr.when.depth.lo: no such setting; did you mean 'low'?",
    ),
    "a condition without a range": (
        {"space": {"lr": {"type": "int", "low": 0, "high": 1, "when": {"depth": {}}}}},
        "space.lr.when.depth: a range needs low, high or both, as in {low: 3}",
    ),
    "words for numbers": (
        {"space": {"lr": {"type": "float", "low": "small", "high": 1}}},
        "space.lr.low: must be a valid number, unable to parse string as a number, got 'small'",
    ),
    "an empty space": ({"space": {}}, "space: must not be empty"),
    "a name with spaces": ({"name": "my study"}, "name: must be letters, digits, '.', '_' and '-', starting with"),
    "a later format": ({"format": 2}, "format: must be 1, got 2"),
    "no trials": ({"budget": {"trials": 0}}, "budget.trials: must be greater than or equal to 1, got 0"),
    "a number for settings": ({"budget": 5}, "budget: must be a mapping of settings, got 5"),
    "two tasks": (
        {"task": {"train": {}, "function": "a:b"}},
        "task: name exactly one of train, estimator, function, command; got train, function",
    ),
    "an unknown constraint": (
        {"constraints": {"params": {"max": 5}}},
        "constraints.params: no such setting; did you mean 'parameters'?",
    ),
}

UNREADABLE = {
    "a key twice": ("name: a\nname: b", "line 2: 'name' is written twice; keep one of them"),
    "an open bracket": ("a: [1", "line 1: expected ',' or ']'"),
    "a tab": ("a:\n\tb: 1", "line 2: a tab stands where only spaces may; indent with spaces"),
    "a Python object": ("a: !!python/object:os.system x", "line 1: could not determine a constructor for the tag"),
    "a tag": ("a: !!int x", "holds a value that can't be read; write it plainly, without a tag such as !!int"),
    "a number of 5,000 digits": (f"a: {'9' * 5000}", "holds a value that can't be read; write it plainly"),
    "a control character": ("a: 1\nb: \x00", "line 2: the character U+0000 is not allowed in YAML; remove it"),
    "two documents": ("name: a\n---\nname: b", "line 2: a second document begins; keep one, without `---` between"),
    "a W&B sweep": (
        "program: train.py\nmethod: bayes\nmetric: {name: loss, goal: minimize}\nparameters: {lr: {min: 0, max: 1}}",
        "is a W&B sweep file, not a study file; write its `parameters` as `space`, its `metric` as `objective`",
    ),
    "a Katib experiment": ("apiVersion: kubeflow.org/v1beta1\nkind: Experiment", "is a Katib experiment, not a study"),
    "a list": ("- 1", "is not a study: write settings such as `name: digits-mlp`, one per line"),
    "nothing": ("", "is not a study: write settings such as `name: digits-mlp`, one per line"),
}


ENDLESS = {
    "nested lists": ("[" * 100_000, "line 1: is nested more than 50 levels deep, too deep for a study"),
    "nested mappings": ("{a: " * 30_000, "line 1: is nested more than 50 levels deep, too deep for a study"),
    "nested lines": ("".join(f"{' ' * depth}a:\n" for depth in range(400)), "line 50: is nested more than 50 levels"),
    "laughs": (
        "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{chr(98 + at)}: &{chr(98 + at)} [{', '.join([f'*{chr(97 + at)}'] * 9)}]\n" for at in range(9)),
        "line 4: holds more than 5,000 values, aliases included, too many for a study",
    ),
    "merged laughs": (
        "a: &a {x: 1}\n"
        + "".join(
            f"{chr(98 + at)}: &{chr(98 + at)} {{<<: [{', '.join([f'*{chr(97 + at)}'] * 9)}]}}\n" for at in range(9)
        ),
        "line 5: holds more than 5,000 values, aliases included, too many for a study",
    ),
    "itself": ("a: &a [*a]", "line 1: an alias refers to a value that contains it; write the value out"),
    "many keys": ("".join(f"k{at}: 1\n" for at in range(12_000)), "line 2500: holds more than 5,000 values"),
    "one key": ("k: 1\n" * 26_000, "line 2500: holds more than 5,000 values"),
    "comments": ("# x\n" * 32_000, "is not a study: write settings such as"),
    "empty lines": ("\n" * 130_000, "is not a study: write settings such as"),
    "a long text": ("a: |\n" + " x\n" * 40_000, "name: is missing; "),
}


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    document = copy.deepcopy(study_file.read(STUDY, source="test"))
    return {key: value for key, value in (document | changes).items() if value is not None}


@pytest.mark.parametrize(("changes", "sentence"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_reported_once_with_its_setting_and_remedy(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidStudy) as caught:
        parse(changed(changes), source="study.yaml")
    told = str(caught.value)
    assert told.startswith(f"study.yaml: {sentence}")
    assert len(told.splitlines()) == 1


def test_several_mistakes_are_reported_together() -> None:
    with pytest.raises(InvalidStudy) as caught:
        parse(changed({"sampler": "tp", "budget": {"trails": 3}}), source="study.yaml")
    assert [error.path for error in caught.value.errors] == ["sampler", "budget.trails"]


@pytest.mark.parametrize(("text", "sentence"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_file_that_is_no_study_is_refused_with_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(InvalidStudy) as caught:
        study_file.load(path)
    assert str(caught.value).startswith(f"{path}: {sentence}")


@pytest.mark.parametrize(("text", "sentence"), ENDLESS.values(), ids=ENDLESS.keys())
def test_no_file_keeps_the_reader_busy(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    began = time.process_time()
    with pytest.raises(InvalidStudy) as caught:
        study_file.load(path)
    assert time.process_time() - began < 2
    assert str(caught.value).startswith(f"{path}: {sentence}")


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "study.yaml").open("wb") as file:
        file.truncate(60 << 30)
    with pytest.raises(InvalidStudy, match="has 62,914,560 KiB; a study file has at most 128 KiB"):
        study_file.load(tmp_path / "study.yaml")


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    for name in ("pipe.yaml", "zero.yaml"):
        command = [sys.executable, "-m", "service.cli.main", "plan", str(tmp_path / name)]
        done = COMMANDS.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 1
        assert done.stderr == f"{tmp_path / name}: is a device or a pipe, not a file; name the study file\n"


def test_words_of_yaml_1_1_are_texts_and_numbers_are_numbers() -> None:
    text = "[1e-4, 1E5, on, off, yes, no, 010, 1:30, 0x10, 1_000, 2024-01-31, .5, '5']"
    numbers = [1e-4, 1e5, "on", "off", "yes", "no", 10, "1:30", "0x10", "1_000", "2024-01-31", 0.5, "5"]
    assert read(text, "test") == numbers


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "korean.yaml").write_bytes("name: 시험".encode("cp949"))
    for name, reason in (
        ("absent.yaml", "no such file"),
        (".", "is a folder; name the study file in it"),
        ("korean.yaml", "is not UTF-8 text; save it as UTF-8"),
    ):
        with pytest.raises(InvalidStudy, match=reason):
            study_file.load(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("5e6", 5e6),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("010", 10),
        ("-3", -3),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("2024-01-01", "2024-01-01"),
        ("12:30:00", "12:30:00"),
        ("null", None),
        ("[64, 1e-2]", [64, 0.01]),
        ("e5", "e5"),
    ],
)
def test_scalars_are_read_as_yaml_1_2_reads_them(text: str, value: object) -> None:
    read = study_file.read(f"key: {text}", source="test")["key"]
    assert read == value
    assert type(read) is type(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_python_writes_is_read_back(value: float) -> None:
    assert study_file.read(f"key: {value!r}", source="test")["key"] == value


def test_a_file_becomes_a_spec(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    spec = study_file.load(path)
    assert spec.task_kind is TaskKind.TRAIN
    assert spec.sampler == TpeSamplerSpec(name="tpe", seed=7)
    assert spec.pruner.name == "median"


def data_path(path: Path, setting: str = "path") -> str:
    task = study_file.load(path).task
    assert task is not None
    assert task.train is not None
    return str(task.train["data"][setting])


def test_paths_are_relative_to_the_study_file_else_left_to_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, beside = tmp_path / "here", tmp_path / "beside"
    here.mkdir()
    (beside / "tokens").mkdir(parents=True)
    (here / "rows.csv").write_text("x,y\n")
    path = beside / "study.yaml"
    path.write_text(STUDY)
    monkeypatch.chdir(here)
    notes: list[str] = []
    load(path, notes.append)
    assert data_path(path) == "rows.csv", "not the one of the directory where study create happens to run"
    (note,) = notes
    assert note.startswith(f"{path}: task.train.data.path: there is no rows.csv beside the study file; each worker ")
    (beside / "rows.csv").write_text("x,y\n")
    assert data_path(path) == str(beside / "rows.csv")
    monkeypatch.chdir(beside)
    assert data_path(Path("study.yaml")) == str(beside / "rows.csv")
    for name, setting in (("csv", "val"), ("images", "table"), ("texts", "tokenizer"), ("mine", "path")):
        value = "tokens" if setting == "tokenizer" else "./rows.csv"
        path.write_text(STUDY.replace("name: csv, path: rows.csv", f"name: {name}, {setting}: {value}"))
        assert data_path(path, setting) == str(beside / Path(value).name)


def test_a_setting_that_is_no_path_is_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    (tmp_path / "teachers" / "best").mkdir(parents=True)
    (tmp_path / "y").mkdir()
    (tmp_path / "best.pt").touch()
    for teacher, found in (("teachers/best", "teachers/best"), ("best.pt", str(tmp_path / "best.pt"))):
        loss = f"    loss: {{name: distill, teacher: {teacher}}}\n    optimizer"
        path.write_text(STUDY.replace("    optimizer", loss, 1))
        task = load(path).task
        assert task is not None
        assert task.train is not None
        assert task.train["loss"]["teacher"] == found
        assert task.train["data"]["target"] == "y", "a column, though a folder is called so"


def test_the_spec_of_a_study_can_be_edited_anywhere(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("x,y\n")
    (tmp_path / "study.yaml").write_text(STUDY)
    (tmp_path / "elsewhere").mkdir()
    study = load(tmp_path / "study.yaml")
    (tmp_path / "elsewhere" / "edited.yaml").write_text(dump(study))
    assert load(tmp_path / "elsewhere" / "edited.yaml") == study


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_are_studies(path: Path) -> None:
    assert study_file.load(path).budget.trials


def test_a_study_that_was_written_reads_as_it() -> None:
    for path in sorted((ROOT / "examples").glob("*.yaml")):
        study = load(path)
        assert parse(read(dump(study), "dumped")) == study


def test_text_that_looks_like_something_else_is_quoted() -> None:
    study = parse(
        {
            "name": "1e5",
            "description": "1e-3",
            "objective": {"metric": "true", "direction": "maximize"},
            "space": {"a": {"type": "categorical", "choices": ["on", "null", "1", 1, True, "0x1", "~", "é: #"]}},
        }
    )
    assert parse(read(dump(study), "dumped")) == study
