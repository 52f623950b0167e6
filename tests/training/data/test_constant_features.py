"""Features with one value in all training examples are named once, in the description of the data."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worker.training.data import DATA

WARNING = "warning: "


def warnings(name: str, **settings: Any) -> list[str]:
    dataset = DATA.create(name, DATA.check(name, settings))
    return [line.removeprefix(WARNING) for line in dataset.columns if line.startswith(WARNING)]


def table(folder: Path, columns: dict[str, list[Any]]) -> dict[str, Any]:
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
    (folder / "t.csv").write_text("\n".join(lines))
    return {"path": str(folder / "t.csv"), "target": "y", "time": "t"}


def test_columns_of_a_table_with_one_training_value_are_named(tmp_path: Path):
    varied, target = list(range(1, 41)), ["a", "b"] * 20
    columns = {
        "t": varied, "varied": [v * 1.5 for v in varied], "equal": [0.1] * 40, "word": ["red"] * 40,
        "new": [7.5] * 30 + [9.5] * 10, "holes": [2.5, ""] * 20, "y": target,
    }  # fmt: skip
    settings = table(tmp_path, columns)
    (line,) = warnings("csv", **settings)
    said = "features have one value in all training examples, so there is nothing to learn from: "
    assert line == f"4 {said}equal, new, holes, word", "the later rows, which differ, validate and test"
    (line,) = warnings("csv", **settings, missing="indicator")
    assert line == f"3 {said}equal, new, word", "that a value is missing may say something"
    (line,) = warnings("csv", **settings, features=["varied", "word"])
    assert line == "1 feature has one value in all training examples, so there is nothing to learn from: word"
    assert warnings("csv", **settings, features=["varied"]) == []


@pytest.mark.parametrize("shape", [(40, 24), (40, 24, 3, 3)])
def test_at_most_ten_columns_or_channels_of_an_archive_are_named(tmp_path: Path, shape: tuple[int, ...]):
    x = np.random.default_rng(0).normal(size=shape)
    x[:, 3:20] = 0.1  # whose computed standard deviation is not 0
    np.savez(tmp_path / "t.npz", x=x, y=np.arange(40) % 2)
    (line,) = warnings("npz", path=str(tmp_path / "t.npz"))
    what = "column" if len(shape) == 2 else "channel"
    assert line.startswith("17 features have one value in all training examples, so there is nothing to learn from: ")
    assert line.endswith(f": {', '.join(f'{what} {index}' for index in range(3, 13))} and 7 more")
    standardised = DATA.create("npz", DATA.check("npz", {"path": str(tmp_path / "t.npz")})).train.features
    assert standardised[:, 3:20].abs().max() < 1e-6
    np.savez(tmp_path / "t.npz", x=np.delete(x, slice(3, 20), axis=1), y=np.arange(40) % 2)
    assert warnings("npz", path=str(tmp_path / "t.npz")) == []


@pytest.mark.parametrize("name", ["wine", "digits", "diabetes", "breast_cancer"])
def test_built_in_data_has_none(name: str):
    assert warnings(name) == []
