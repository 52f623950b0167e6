"""Predicting on files: every kind of data, competitions' sample files, and large files in bounded memory."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv as arrow_csv
from pyarrow import parquet as arrow_parquet
from sklearn.datasets import load_breast_cancer, load_digits

from examples.draw_digits import draw
from tests.training.bundle.test_bundle import trained
from tests.training.test_examples import ROOT, example
from worker.training import ConfigError, TrainingConfig, train
from worker.training.bundle import Bundle, bundle_of_checkpoint
from worker.training.bundle.files import read_batches
from worker.training.bundle.predict_file import predict_file


def breast_cancer(folder: Path) -> Path:
    bunch = load_breast_cancer()
    columns = dict(zip(bunch.feature_names.tolist(), bunch.data.T[:, :9], strict=True))
    arrow_csv.write_csv(pa.table(columns), folder / "new.csv")
    return folder / "new.csv"


def digits(folder: Path) -> Path:
    np.savez(folder / "new.npz", x=load_digits().images[:9])
    return folder / "new.npz"


def drawn(folder: Path) -> Path:
    draw(folder / "drawn")
    return folder / "drawn" / "3"


def copied(name: str) -> Any:
    def copy(folder: Path) -> Path:
        (folder / name).write_bytes((ROOT / "examples" / "data" / name).read_bytes())
        return folder / name

    return copy


def text(folder: Path) -> Path:
    (folder / "new.txt").write_text("Licensed under the Apache License, Version 2.0. " * 9)
    return folder / "new.txt"


NEW_FILES = {
    "breast_cancer": breast_cancer, "diabetes": copied("diabetes.csv"), "digits": digits, "digits_small": digits,
    "own_model": digits, "images": drawn, "texts": copied("numbers.csv"), "ranking": copied("wards.csv"),
    "language": text,
}  # fmt: skip


CHEAP = ("breast_cancer", "texts", "ranking")
"""Those that a test of seconds can afford; the proofs take all."""


@pytest.mark.parametrize(
    "name",
    [name if name in CHEAP else pytest.param(name, marks=pytest.mark.prove) for name in NEW_FILES],
)
def test_every_example_that_trains_the_core_predicts_on_a_new_file(name: str, tmp_path: Path):
    if name != "own_model":
        predict_on_a_new_file(name, tmp_path)
        return
    # The entries of the example would be registered for all later tests, so that it has a process of its own.
    code = (
        "import sys, pathlib, examples.own_model\n"
        "from tests.training.bundle.test_predict_file import predict_on_a_new_file\n"
        "predict_on_a_new_file('own_model', pathlib.Path(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def predict_on_a_new_file(name: str, tmp_path: Path) -> None:
    """Train an example for an epoch, and check what its bundle predicts on a new file."""
    task = example(name)["task"]["train"]
    new = NEW_FILES[name](tmp_path)
    if name == "images":
        task["data"]["path"] = str(tmp_path / "drawn")
    train(TrainingConfig.from_mapping(task | {"epochs": 1}), checkpoint_dir=tmp_path / "c")
    bundle = bundle_of_checkpoint(tmp_path / "c")
    summary = predict_file(bundle, new, tmp_path / "out.csv")
    table = arrow_csv.read_csv(tmp_path / "out.csv")
    assert table.num_rows == summary.rows > 0
    assert table.column_names[0] == "id"
    if bundle.dataset.kind == "classification":
        assert set(table.column("prediction").to_pylist()) <= {*bundle.dataset.class_names, *range(10)}
        assert table.column_names[2:] == [f"p/{each}" for each in bundle.dataset.class_names]
        assert sum(summary.classes.values()) == summary.rows


def test_every_example_that_trains_the_core_is_in_this_test():
    studies = (ROOT / "examples").glob("*.yaml")
    core = {each.stem for each in studies if re.search(r"^  train:", each.read_text(), re.MULTILINE)}
    assert set(NEW_FILES) == core


@pytest.fixture
def shops(tmp_path: Path) -> tuple[Bundle, Path]:
    """A bundle of two classes with Korean columns, and a file of 30 rows in cp949."""
    (tmp_path / "data").mkdir()
    random = np.random.default_rng(0)
    table = pa.table({
        "번호": np.arange(30) + 100, "면적": random.normal(50, 9, 30), "구": ["강남", "종로", "마포"] * 10,
        "팔림": ["예", "아니오"] * 15,
    })  # fmt: skip
    path = tmp_path / "data" / "shops.csv"
    path.write_bytes("\n".join(
        [",".join(table.column_names), *(",".join(map(str, row.values())) for row in table.to_pylist())]
    ).encode("cp949"))  # fmt: skip
    (tmp_path / "new.csv").write_bytes(path.read_bytes())
    settings = {"name": "csv", "path": str(path), "target": "팔림", "id": "번호", "encoding": "cp949"}
    _, bundle = trained(tmp_path / "data", data=settings)
    return bundle, tmp_path / "new.csv"


def test_a_file_in_cp949_is_read_by_its_detected_encoding(shops: tuple[Bundle, Path], tmp_path: Path):
    bundle, new = shops
    notes: list[str] = []
    summary = predict_file(bundle, new, tmp_path / "out.parquet", on_note=notes.append)
    table = arrow_parquet.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["번호", "prediction", "p/아니오", "p/예"]
    assert table.column("번호").to_pylist() == [str(each) for each in range(100, 130)]
    assert (summary.rows, notes) == (30, [])


def test_a_sample_file_is_filled_in_its_order_and_with_its_columns(shops: tuple[Bundle, Path], tmp_path: Path):
    bundle, new = shops
    own = bundle.predict(next(iter(read_batches(new, bundle))).frame)
    order = np.random.default_rng(1).permutation(30)
    ids = [100 + int(each) for each in order]

    def fill(**columns: Any) -> pa.Table:
        arrow_csv.write_csv(pa.table({"번호": ids, **columns}), tmp_path / "sample.csv")
        predict_file(bundle, new, tmp_path / "out.csv", submission=tmp_path / "sample.csv")
        return arrow_csv.read_csv(tmp_path / "out.csv")

    filled = fill(팔림=["예"] * 30)
    assert filled.column("번호").to_pylist() == ids
    assert filled.column("팔림").to_pylist() == own.classes[order].tolist()
    filled = fill(예=[0.0] * 30, 아니오=[0] * 30)
    assert filled.column_names == ["번호", "예", "아니오"]
    np.testing.assert_allclose(filled.column("예").to_numpy(), own.probabilities[order, 1], rtol=1e-5)
    filled = fill(target=[0.5] * 30)
    np.testing.assert_allclose(filled.column("target").to_numpy(), own.probabilities[order, 1], rtol=1e-5)


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        ("번호,y\n100,0\n999,0\n", r"submission: the data have no row for 1 ids of the sample, such as '999'"),
        ("번호,y\n100,0\n", r"submission: the sample has no row for 29 ids of the data, such as '101'"),
        (
            "번호,a,b\n100,0,0\n",
            r"submission: the columns 'a', 'b' are no classes of the model, which are '아니오', '예'",
        ),
        ("번호\n100\n", r"submission: .* must have a column of ids, one to predict, and rows"),
    ],
)
def test_a_sample_file_that_does_not_fit_is_refused(
    sample: str, words: str, shops: tuple[Bundle, Path], tmp_path: Path
):
    (tmp_path / "sample.csv").write_text(sample)
    with pytest.raises(ConfigError, match=words):
        predict_file(shops[0], shops[1], tmp_path / "out.csv", submission=tmp_path / "sample.csv")
    assert list(tmp_path.glob("out*")) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"data: '.*bad\.csv' is empty"),
        ("번호,면적,구\n".encode(), r"data: '.*bad\.csv' has columns but no rows"),
        ("번호,면적\n1,2\n".encode(), "data: column '구' of the training data is missing"),
        (
            "번호,면적,구\n1,2,강남\n2,넓음,강남\n".encode(),
            r"data: column '면적' holds '넓음' here \(the first in row 2 ",
        ),
        ("번호,면적,구\n1,2\n".encode(), r"data: '.*bad\.csv' can't be read as a CSV file"),
    ],
    ids=["empty", "header", "column", "type", "ragged"],
)
def test_a_file_that_cannot_be_predicted_on_is_refused(
    content: bytes, words: str, shops: tuple[Bundle, Path], tmp_path: Path
):
    (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        predict_file(shops[0], tmp_path / "bad.csv", tmp_path / "out.csv")
    assert list(tmp_path.glob("out*")) == []


def test_a_large_file_is_read_in_parts_that_keep_the_count_of_rows(
    shops: tuple[Bundle, Path], tmp_path: Path, monkeypatch: Any
):
    monkeypatch.setattr("worker.training.data.csv_file._BLOCK_BYTES", 1 << 12)
    bundle, _ = shops
    lines = [f"{row},{row % 97 + 0.5},강남" for row in range(3000)]
    (tmp_path / "large.csv").write_text("\n".join(["번호,면적,구", *lines]))
    shares: list[float] = []
    predict_file(
        bundle, tmp_path / "large.csv", tmp_path / "out.csv", on_progress=lambda _, share: shares.append(share)
    )
    assert len(shares) > 5
    assert shares == sorted(shares)
    assert arrow_csv.read_csv(tmp_path / "out.csv").column("번호").to_pylist() == list(range(3000))
    (tmp_path / "large.csv").write_text("\n".join(["번호,면적,구", *lines[:2500], "2500,what,강남", *lines[2501:]]))
    with pytest.raises(ConfigError, match=r"column '면적' holds 'what' here \(the first in row 2,501 "):
        predict_file(bundle, tmp_path / "large.csv", tmp_path / "out.csv")
