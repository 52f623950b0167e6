"""Bundles: they predict what the training predicted, without the data file, and say what does not fit."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import csv as arrow_csv

from tests.training.data.test_preprocessing import HOUSES
from worker.training import ConfigError, Monitor, TrainingConfig, TrainingResult, train
from worker.training.bundle import Answers, Bundle, bundle_of_checkpoint, load_bundle, write_bundle
from worker.training.models import MODELS

BASE = {
    "model": {"name": "mlp", "hidden": [8], "dropout": 0.3},
    "loss": {"name": "cross_entropy"},
    "optimizer": {"name": "adamw", "lr": 0.01},
    "batch_size": 8,
    "epochs": 2,
}


def trained(folder: Path, keep: Any = "best", **sections: Any) -> tuple[TrainingResult, Bundle]:
    """A training's result and the bundle of its checkpoint, after the folder of data and checkpoint is gone."""
    config = TrainingConfig.from_mapping(BASE | sections)
    monitor = Monitor("val/loss", "minimize", keep)
    result = train(config, checkpoint_dir=folder / "checkpoints", monitor=monitor)
    write_bundle(folder.parent / "model.zip", bundle_of_checkpoint(folder / "checkpoints"), "# Card")
    shutil.rmtree(folder)
    return result, load_bundle(folder.parent / "model.zip")


def assert_equal_to_the_trials_own(answers: Answers, result: TrainingResult) -> None:
    """Compare the test split, which no model trained on: there a trial's predictions are the mean of all models."""
    own = result.predictions["test"]
    rows = {each: index for index, each in enumerate(answers.ids.tolist())}
    chosen = [rows[each] for each in own.ids.tolist()]
    np.testing.assert_allclose(answers.outputs[chosen], own.outputs.numpy(), rtol=1e-6, atol=1e-6)


def houses(folder: Path, repeat: int = 10) -> pa.Table:
    folder.mkdir()
    head, *lines = HOUSES.strip().splitlines()
    numbered = [f"{number}{line}" for number in range(repeat) for line in lines]
    (folder / "houses.csv").write_text("\n".join([head, *numbered]))
    return arrow_csv.read_csv(
        folder / "houses.csv", convert_options=arrow_csv.ConvertOptions(column_types={"area": pa.string()})
    )


@pytest.fixture
def data(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    features = ["area", "heating", "garden", "rooms"]
    path = str(tmp_path / "data" / "houses.csv")
    base = {"name": "csv", "path": path, "features": features, "id": "id", "na_values": ["-1"]}
    return lambda **settings: base | settings


@pytest.mark.parametrize(
    "changes",
    [{}, {"folds": 2, "repeats": 2}, {"ema_decay": 0.9}, {"precision": "bf16"}],
    ids=["plain", "folds", "average", "bf16"],
)
def test_classes_of_a_table_are_predicted_as_by_the_trial_after_its_data_are_gone(
    changes: dict[str, Any], data: Any, tmp_path: Path
):
    table = houses(tmp_path / "data")
    settings = data(target="garden", features=["area", "heating", "rooms"], missing="indicator", categories="embedded")
    rows = table.filter(pa.compute.is_valid(table.column("garden")))
    arrow_csv.write_csv(rows, settings["path"])
    result, bundle = trained(tmp_path / "data", data=settings, **changes)
    answers = bundle.predict(rows)
    assert_equal_to_the_trials_own(answers, result)
    assert set(answers.classes) <= {"True", "False"}
    np.testing.assert_allclose(answers.probabilities.sum(1), 1, atol=1e-5)


def test_values_come_in_the_targets_own_unit(data: Any, tmp_path: Path):
    table = houses(tmp_path / "data")
    settings = data(target="price", kind="regression", missing="indicator")
    result, bundle = trained(tmp_path / "data", loss={"name": "huber"}, data=settings)
    answers = bundle.predict(table)
    assert_equal_to_the_trials_own(answers, result)
    assert 1 < answers.values.mean() < 9
    assert answers.to_table().column_names == ["id", "prediction"]


def test_any_frame_of_the_same_rows_gives_the_same_answers(data: Any, tmp_path: Path):
    table = houses(tmp_path / "data").select(["id", "rooms", "heating", "garden", "area", "price"])
    _, bundle = trained(tmp_path / "data", data=data(target="price", kind="regression"), loss={"name": "mse"})
    expected = bundle.predict(table)
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    with_nan = {
        name: [float("nan") if each is None else each for each in values] if name == "rooms" else values
        for name, values in columns.items()
    }
    order = [column.name for column in bundle.preprocessing.columns]
    rows = np.array([[row[name] for name in order] for row in table.to_pylist()], dtype=object)
    for frame in (columns, with_nan, table.to_pylist(), table.to_batches()[0], table.select(table.column_names[::-1])):
        answers = bundle.predict(frame)
        assert answers.ids.tolist() == expected.ids.tolist()
        assert np.array_equal(answers.values, expected.values)
    assert np.array_equal(bundle.predict(rows).values, expected.values)
    one_row = table.to_pylist()[3]
    np.testing.assert_allclose(bundle.predict(one_row).values, expected.values[3:4], rtol=1e-6)


def test_columns_that_are_missing_extra_or_of_unknown_categories(data: Any, tmp_path: Path):
    table = houses(tmp_path / "data")
    _, bundle = trained(tmp_path / "data", data=data(target="price", kind="regression"), loss={"name": "mse"})
    rows = table.drop_columns(["price"]).append_column("colour", pa.array(["red"] * len(table)))
    answers = bundle.predict(rows)
    assert answers.notes == ("columns 'sold', 'colour' are ignored: training did not use them",)

    with pytest.raises(ConfigError, match="data: columns 'area', 'rooms' of the training data are missing"):
        bundle.predict(rows.drop_columns(["area", "rooms"]))
    imputed = bundle.predict(rows.drop_columns(["rooms"]), impute_columns=True)
    nulls = rows.set_column(rows.column_names.index("rooms"), "rooms", pa.nulls(len(rows)))
    assert np.array_equal(imputed.values, bundle.predict(nulls).values)
    assert "column 'rooms' is missing, so all values count as missing values" in imputed.notes

    unknown = rows.set_column(rows.column_names.index("heating"), "heating", pa.array(["solar"] * len(rows)))
    answers = bundle.predict(unknown)
    assert "column 'heating' has a category that training did not know; it is encoded as unknown" in answers.notes
    assert np.isfinite(answers.values).all()

    with pytest.raises(ConfigError, match=r"data: column 'rooms' holds 'many' here \(the first in row 3 "):
        bundle.predict({"area": [1, 2, 3], "heating": ["gas"] * 3, "garden": [True] * 3, "rooms": [1, 2, "many"]})
    with pytest.raises(ConfigError, match="data: there are no examples to predict on"):
        bundle.predict(rows.slice(0, 0))
    with pytest.raises(ConfigError, match=r"no column names and the shape \[3\]"):
        bundle.predict(np.zeros(3))


def test_a_training_that_refuses_missing_numbers_refuses_them_in_new_rows(data: Any, tmp_path: Path):
    houses(tmp_path / "data")
    settings = data(target="price", kind="regression", features=["heating", "number"], missing="refuse")
    table = arrow_csv.read_csv(settings["path"])
    table = table.append_column("number", pa.array(range(len(table))))
    arrow_csv.write_csv(table, settings["path"])
    _, bundle = trained(tmp_path / "data", loss={"name": "mse"}, data=settings)
    with pytest.raises(ConfigError, match=r"column 'number' lacks a value in row 2 .*refuses"):
        bundle.predict({"heating": ["gas", "oil"], "number": [1, None]}, impute_columns=True)
    with pytest.raises(ConfigError, match=r"column 'number' of the training data is missing$"):
        bundle.predict({"heating": ["gas", "oil"]}, impute_columns=True)


def test_built_in_rows_are_found_by_name_and_by_place(tmp_path: Path):
    from sklearn.datasets import load_wine  # noqa: PLC0415

    (tmp_path / "data").mkdir()
    result, bundle = trained(tmp_path / "data", data={"name": "wine"}, folds=3)
    wine = load_wine()
    answers = bundle.predict(wine.data)
    assert_equal_to_the_trials_own(answers, result)
    by_name = dict(zip(wine.feature_names[::-1], wine.data.T[::-1], strict=True))
    assert np.array_equal(bundle.predict(by_name).outputs, answers.outputs)
    with pytest.raises(ConfigError, match=r"shape \[4\], but training's were numbers of the shape \[13\]"):
        bundle.predict(wine.data[:, :4])


def test_images_are_predicted_from_files_and_from_arrays(tmp_path: Path):
    random, folder = np.random.default_rng(0), tmp_path / "data" / "images"
    for index in range(40):
        (folder / f"class{index % 2}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (9, 7)).astype(np.uint8)).save(folder / f"class{index % 2}/{index}.png")
    shutil.copytree(folder, tmp_path / "new")
    settings = {"name": "images", "path": str(folder), "size": 6, "grayscale": True}
    result, bundle = trained(tmp_path / "data", data=settings, model={"name": "lenet"})
    answers = bundle.predict(tmp_path / "new")
    assert_equal_to_the_trials_own(answers, result)
    files = sorted((tmp_path / "new").glob("*/*.png"))
    arrays = [np.asarray(Image.open(file)) for file in files]
    assert np.array_equal(bundle.predict(files).outputs, answers.outputs)
    assert np.array_equal(bundle.predict(np.stack(arrays)).outputs, answers.outputs)
    assert np.array_equal(bundle.predict(arrays[0][None]).classes, answers.classes[:1])
    with pytest.raises(ConfigError, match=r"an image is an array of uint8 .*, not float64 \[9, 7\]"):
        bundle.predict([arrays[0] / 255])
    (tmp_path / "no.png").write_text("text")
    with pytest.raises(ConfigError, match=r"no\.png' can't be read as an image"):
        bundle.predict([tmp_path / "no.png"])


def test_texts_are_predicted_from_lists_and_tables(tmp_path: Path):
    (tmp_path / "data").mkdir()
    texts = [f"this is {('good', 'bad')[index % 2]} number {index}" for index in range(60)]
    table = pa.table(
        {"key": [f"k{index}" for index in range(60)], "text": texts, "y": ["ab"[i % 2] for i in range(60)]}
    )
    arrow_csv.write_csv(table, tmp_path / "data" / "t.csv")
    settings = {"name": "texts", "path": str(tmp_path / "data" / "t.csv"), "text": "text", "target": "y", "id": "key"}
    settings |= {"tokens": "words", "words": 20, "length": 6}
    model = {"name": "lstm", "width": 8}
    result, bundle = trained(tmp_path / "data", data=settings, model=model, folds=2)
    answers = bundle.predict(table)
    assert_equal_to_the_trials_own(answers, result)
    assert np.array_equal(bundle.predict(texts).outputs, answers.outputs)
    np.testing.assert_allclose(bundle.predict(texts[4]).outputs, answers.outputs[4:5], atol=1e-6)
    with pytest.raises(ConfigError, match="example 1 is None, not a text"):
        bundle.predict(["a", None])
    with pytest.raises(ConfigError, match="column 'text' of the training data, the text, is missing"):
        bundle.predict({"words": ["a"]})


def test_rows_of_a_ranking_are_scored_and_a_text_gets_a_loss_per_window(tmp_path: Path):
    (tmp_path / "data").mkdir()
    random = np.random.default_rng(0)
    queries, x = np.repeat(np.arange(30), 4), random.normal(size=120)
    table = pa.table({"q": queries, "x": x, "y": random.integers(0, 3, 120)})
    arrow_csv.write_csv(table, tmp_path / "data" / "t.csv")
    settings = {"name": "csv", "path": str(tmp_path / "data" / "t.csv"), "target": "y", "query": "q"}
    result, bundle = trained(tmp_path / "data", data=settings, loss={"name": "listnet"})
    order = random.permutation(120)
    answers = bundle.predict(table.take(order))
    back = np.argsort(order)
    own = result.predictions["test"]
    np.testing.assert_allclose(answers.values[back][own.ids], own.outputs.numpy(), atol=1e-6)

    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "t.txt").write_text("abcabcabd" * 60)
    settings = {"name": "text", "path": str(tmp_path / "data" / "t.txt"), "length": 8, "tokens": "characters"}
    model = {"name": "gpt", "depth": 1, "width": 16, "heads": 2}
    _, bundle = trained(tmp_path / "data", data=settings, model=model, epochs=20)
    answers = bundle.predict("abcabcabdabcabcab")
    assert answers.ids.tolist() == [0, 8, 16]
    assert answers.to_table().column("next").to_pylist()[0] == "d"
    assert answers.values[0] < np.log(4)
    with pytest.raises(ConfigError, match="the text is empty"):
        bundle.predict("")


def test_a_bundle_is_three_files_that_run_no_code(tmp_path: Path):
    (tmp_path / "data").mkdir()
    trained(tmp_path / "data", data={"name": "wine"})
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        assert sorted(archive.namelist()) == ["bundle.json", "card.md", "model.safetensors"]
        assert archive.read("card.md") == b"# Card"
    bundle = load_bundle(tmp_path / "model.zip")
    write_bundle(str(tmp_path / "again.zip"), bundle, "# Card")
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "model.zip").read_bytes()


def test_files_that_are_no_bundles_are_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="bundle: there is no file"):
        load_bundle(tmp_path / "gone.zip")
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(ConfigError, match=r"text\.zip' can't be read as a bundle"):
        load_bundle(tmp_path / "text.zip")
    (tmp_path / "data").mkdir()
    trained(tmp_path / "data", data={"name": "wine"})
    content = (tmp_path / "model.zip").read_bytes()
    (tmp_path / "half.zip").write_bytes(content[: len(content) // 2])
    with pytest.raises(ConfigError, match=r"half\.zip' can't be read as a bundle"):
        load_bundle(tmp_path / "half.zip")


def test_a_checkpoint_of_an_earlier_version_is_refused(tmp_path: Path):
    train(TrainingConfig.from_mapping(BASE | {"data": {"name": "wine"}}), checkpoint_dir=tmp_path / "c")
    [file, *_] = sorted((tmp_path / "c").glob("*.pt"), reverse=True)
    content = torch.load(file, weights_only=True)
    del content["preprocessing"]
    torch.save(content, tmp_path / "old.pt")
    with pytest.raises(ConfigError, match=r"old\.pt' was written by an earlier version, .*train the trial again"):
        bundle_of_checkpoint(tmp_path / "old.pt")


def test_the_module_of_a_custom_model_is_named_when_it_is_missing(tmp_path: Path, monkeypatch: Any):
    def own(dataset: Any) -> torch.nn.Module:
        """A model of one's own."""
        return torch.nn.Linear(dataset.num_features, dataset.num_outputs)

    own.__module__ = "my_models"
    entries = dict(MODELS._entries)
    monkeypatch.setattr(MODELS, "_entries", entries)
    MODELS.add(own)
    (tmp_path / "data").mkdir()
    result, bundle = trained(tmp_path / "data", data={"name": "wine"}, model={"name": "own"})
    assert bundle.facts["modules"] == {"model": "my_models"}
    assert result.models
    del entries["own"]
    with pytest.raises(ConfigError, match="the model 'own' is a custom entry of the module my_models that is not reg"):
        load_bundle(tmp_path / "model.zip")
