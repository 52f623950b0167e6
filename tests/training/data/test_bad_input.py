"""Bad data and settings are refused before the first step, with the name of the setting, for every format."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet as arrow_parquet

from tests.training.data.sources import CLASSES, ROWS, SOURCES, load
from worker.training import ConfigError, TrainingConfig, TrainingHooks, models, train
from worker.training.data import DATA

BUILTIN = {"digits", "wine", "breast_cancer", "diabetes"}


def a_text(folder: Path) -> dict[str, Any]:
    (folder / "t.txt").write_text("ill or well, " * 60)
    return {"name": "text", "path": str(folder / "t.txt"), "length": 8}


READ: dict[str, Callable[..., dict[str, Any]]] = SOURCES | {"text": a_text}
MODELS = {"texts": "gru", "text": "gru"}
each_file = pytest.mark.parametrize("source", READ)
with_target = pytest.mark.parametrize("source", [name for name in READ if name not in ("text", "images")])
with_classes = pytest.mark.parametrize("source", SOURCES)


def alone(data: dict[str, Any]) -> dict[str, Any]:
    """Data that chance splits: without the table that could decide."""
    return {name: value for name, value in data.items() if name != "table"}


def refusal(data: dict[str, Any], **changes: Any) -> str:
    """The sentence by which a training is refused before its first step."""
    mapping = {
        "data": data, "model": {"name": MODELS.get(data["name"], "linear")}, "loss": {"name": "cross_entropy"},
        "optimizer": {"name": "adamw"}, "epochs": 1, "batch_size": 8, **changes,
    }  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        train(TrainingConfig.from_mapping(mapping), hooks=TrainingHooks(poll=lambda: pytest.fail("it took a step")))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_source_is_tried():
    assert {entry.name for entry in DATA} == {*READ, *BUILTIN}


@each_file
def test_a_missing_file(source: str, tmp_path: Path):
    told = refusal(READ[source](tmp_path) | {"path": str(tmp_path / "absent")})
    assert told.startswith("data.path: there is no ")
    assert "absent" in told


@each_file
def test_a_misspelt_source_or_setting(source: str, tmp_path: Path):
    given = READ[source](tmp_path)
    assert refusal({**given, "name": f"{source}x"}).startswith(f"data.name: unknown data '{source}x'; did you mean '")
    assert "did you mean 'val_fraction'?" in refusal({**given, "val_fractoin": 0.1})


@with_target
def test_a_target_that_is_not_there(source: str, tmp_path: Path):
    given = READ[source](tmp_path)
    wrong, right = ("yy", "y") if source == "npz" else ("stat", "state")
    told = refusal(given | {"target": wrong})
    assert told.startswith(f"data.target: there is no {'array' if source == 'npz' else 'column'} {wrong!r}; did you")
    assert f"'{right}'" in told


@with_classes
def test_one_class_only(source: str, tmp_path: Path):
    where = "data.path" if source == "images" else "data.target"
    told = refusal(alone(READ[source](tmp_path, ["ill"] * ROWS)))
    assert told.startswith(f"{where}: the training examples have only the class ill")


@with_classes
def test_a_class_of_a_single_example(source: str, tmp_path: Path):
    told = refusal(alone(READ[source](tmp_path, ["odd", *CLASSES[1:]])))
    assert told.startswith("data.test_fraction: no stratified split is possible")


@each_file
def test_a_batch_larger_than_the_data(source: str, tmp_path: Path):
    given = alone(READ[source](tmp_path))
    assert refusal(given, batch_size=10**6).startswith("batch_size: 1000000 is more than the ")


@each_file
def test_a_loss_or_a_model_for_other_data(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    given = alone(READ[source](tmp_path))
    monkeypatch.setattr(models.MODELS, "create", lambda *_, **__: pytest.fail("a model was built"))
    kind = "language" if source == "text" else "classification"
    assert refusal(given, loss={"name": "mse"}).startswith(
        f"loss.name: mse is for regression, but the data is for {kind};"
    )
    inputs = {"texts": "tokens", "text": "tokens", "images": "images"}.get(source, "rows")
    other = next(each.name for each in models.MODELS if inputs not in each.facts.get("inputs", [inputs]))
    said = refusal(given, model={"name": other})
    assert said.startswith(f"model.name: {other} is for ")
    assert f"but the data is for {inputs}; use " in said


@each_file
def test_each_data_source_declares_its_kinds_of_task(source: str, tmp_path: Path):
    given = alone(READ[source](tmp_path))
    dataset, entry = load(given), DATA.entry(given["name"])
    assert dataset.inputs in entry.facts["inputs"]
    assert dataset.kind in entry.facts["kinds"]


@each_file
def test_an_optimizer_that_climbs(source: str, tmp_path: Path):
    assert (
        refusal(READ[source](tmp_path), optimizer={"name": "sgd", "lr": -0.1}) == "optimizer.lr: must be > 0, got -0.1"
    )


@each_file
def test_fractions_that_leave_nothing(source: str, tmp_path: Path):
    given = alone(READ[source](tmp_path))
    told = refusal({**given, "val_fraction": 0.6, "test_fraction": 0.5})
    assert told.startswith("data.val_fraction: val_fraction and test_fraction together must be below 1")


@each_file
def test_a_file_of_something_else(source: str, tmp_path: Path):
    given = alone(READ[source](tmp_path))
    if source == "images":
        given["path"] = str(tmp_path / "other")
        (tmp_path / "other" / "ill").mkdir(parents=True)
        (tmp_path / "other" / "ill" / "a.png").write_bytes(b"\xff\x00no image")
    else:
        (tmp_path / "other").write_bytes(b"\xff\x00")
        given["path"] = str(tmp_path / "other")
    assert refusal(given).startswith("data.length: " if source == "text" else "data.path: ")


def no_numbers(path: Path, values: list[float]) -> dict[str, dict[str, Any]]:
    """Features that hold such values, in every source of numbers."""
    ages = [float(row % 7) for row in range(ROWS - len(values))] + values
    np.savez(path / "t.npz", x=np.array(ages)[:, np.newaxis], y=CLASSES)
    arrow_parquet.write_table(pa.table({"age": ages, "state": CLASSES}), path / "t.parquet")
    rows = [f"{age},{state}" for age, state in zip(ages, CLASSES, strict=True)]
    (path / "t.csv").write_text("\n".join(["age,state", *rows]))
    return {
        "npz": {"name": "npz", "path": str(path / "t.npz")},
        "parquet": {"name": "parquet", "path": str(path / "t.parquet"), "target": "state"},
        "csv": {"name": "csv", "path": str(path / "t.csv"), "target": "state"},
    }


@pytest.mark.parametrize("source", ["npz", "parquet", "csv"])
def test_features_that_are_no_numbers(source: str, tmp_path: Path):
    place = {"npz": "array 'x' holds {} at [51, 0]; ", "parquet": "column 'age' holds {} at index 51; "}
    for wrong, told in ((np.inf, "inf"), (-np.inf, "-inf"), (1e300, "1e+300")):
        said = refusal(no_numbers(tmp_path, [wrong] * 9)[source])
        assert said.startswith("data.features: " + place.get(source, "column 'age' holds {} in row 52 ").format(told))
    said = refusal(no_numbers(tmp_path, [1e30])[source])
    assert "holds 1e+30" in said
    assert "so far from the other values that standardising makes them equal" in said
    missing = no_numbers(tmp_path, [np.nan] * 9)[source]
    if source == "npz":
        assert refusal(missing).startswith("data.features: array 'x' holds nan at [51, 0]; numbers must be finite")
    else:  # of a table they are imputed, unless refused
        assert refusal(missing | {"missing": "refuse"}).startswith("data.missing: the ")


@pytest.mark.parametrize("target", [["a", "b"] * 30, np.array(["2024-01-01"] * 60, dtype="datetime64[D]")])
def test_targets_of_an_archive_that_are_no_numbers(target: Any, tmp_path: Path):
    np.savez(tmp_path / "t.npz", x=np.eye(60), y=target)
    given = {"name": "npz", "path": str(tmp_path / "t.npz"), "kind": "regression"}
    assert refusal(given, loss={"name": "mse"}).startswith(
        "data.kind: 'y' does not hold numbers, which regression needs"
    )


def test_an_archive_without_examples(tmp_path: Path):
    np.savez(tmp_path / "t.npz", x=np.empty((0, 3)), y=np.empty(0))
    given = {"name": "npz", "path": str(tmp_path / "t.npz"), "val_fraction": 0, "test_fraction": 0}
    assert refusal(given).startswith("data.features: 'x' holds no examples")


def test_labels_that_training_never_saw(tmp_path: Path):
    np.savez(tmp_path / "t.npz", x_train=np.eye(8), y_train=[0, 1] * 4, x_val=np.eye(8), y_val=[0, 2] * 4)
    given = {"name": "npz", "path": str(tmp_path / "t.npz"), "test_fraction": 0}
    assert refusal(given) == "data.target: the val examples hold class 2, which no training example has"
    for part, name in (("train", "ill"), ("train", "well"), ("val", "odd"), ("val", "well")):
        (tmp_path / "all" / part / name).mkdir(parents=True)
        for index in range(4):
            Image.new("L", (4, 4)).save(tmp_path / "all" / part / name / f"{index}.png")
    given = {"name": "images", "path": str(tmp_path / "all"), "test_fraction": 0}
    assert refusal(given) == "data.path: the val examples hold class 'odd', which no training example has"
