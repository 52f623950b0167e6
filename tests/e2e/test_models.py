"""A trial's model is exported as a bundle, and predicts as the trial did after its data are gone."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import csv as arrow_csv

from service.cli import main
from service.client import Client
from tests.support.forked_commands import forked_zygotes
from tests.support.service import Service
from worker.agent import AcceptedWork, Agent, ProcessSettings, SlotPlan, StorageSettings, cpu
from worker.training.bundle import load_bundle

pytestmark = pytest.mark.prove

ROWS = 80


def houses(folder: Path) -> pa.Table:
    """Houses with missing numbers, categories and days of sale."""
    random = np.random.default_rng(0)
    area = [None if row % 9 == 0 else float(random.normal(80, 20)) for row in range(ROWS)]
    table = pa.table({
        "key": [f"h{row}" for row in range(ROWS)], "area": area, "heating": ["gas", "oil", None, "wood"] * (ROWS // 4),
        "sold": [f"2024-{1 + row % 12:02}-{1 + row % 28:02}" for row in range(ROWS)],
        "garden": [row % 3 == 0 for row in range(ROWS)], "price": random.normal(1150, 90, ROWS),
    })  # fmt: skip
    arrow_csv.write_csv(table, folder / "houses.csv")
    return arrow_csv.read_csv(folder / "houses.csv")


def table(folder: Path) -> tuple[dict[str, Any], Any]:
    rows = houses(folder)
    data = {"path": str(folder / "houses.csv"), "target": "garden", "time": "sold", "id": "key", "missing": "indicator"}
    return {"data": {"name": "csv", **data}, "model": {"name": "mlp", "hidden": [8]}}, rows


def values(folder: Path) -> tuple[dict[str, Any], Any]:
    rows = houses(folder)
    data = {"path": str(folder / "houses.csv"), "target": "price", "features": ["area", "heating"], "id": "key"}
    return {"data": {"name": "csv", **data}, "model": {"name": "mlp"}, "loss": {"name": "huber"}, "folds": 2}, rows


def images(folder: Path) -> tuple[dict[str, Any], Any]:
    random = np.random.default_rng(0)
    for row in range(ROWS):
        (folder / "images" / "ab"[row % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (9, 9)).astype(np.uint8)).save(
            folder / f"images/{'ab'[row % 2]}/{row}.png"
        )
    shutil.copytree(folder / "images", folder.parent / "new")
    data = {"name": "images", "path": str(folder / "images"), "size": 8, "grayscale": True}
    return {"data": data, "model": {"name": "lenet"}}, folder.parent / "new"


def texts(folder: Path) -> tuple[dict[str, Any], Any]:
    says = [f"{('yes', 'no')[row % 2]} and {row}" for row in range(ROWS)]
    rows = pa.table({"key": range(ROWS), "says": says, "y": ["ab"[row % 2] for row in range(ROWS)]})
    arrow_csv.write_csv(rows, folder / "texts.csv")
    data = {
        "name": "texts",
        "path": str(folder / "texts.csv"),
        "text": "says",
        "target": "y",
        "id": "key",
        "length": 12,
    }
    return {"data": data, "model": {"name": "lstm", "width": 8}}, rows


@pytest.mark.parametrize(
    "make", [table, *(pytest.param(each, marks=pytest.mark.full) for each in (values, images, texts))]
)
def test_a_bundle_predicts_as_the_trial_did_after_its_data_are_gone(
    make: Callable[[Path], tuple[dict[str, Any], Any]],
    shared_service: Service,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "data").mkdir()
    task, frame = make(tmp_path / "data")
    name = f"bundled-{make.__name__}"
    base = {"loss": {"name": "cross_entropy"}, "optimizer": {"name": "adamw"}, "batch_size": 16, "epochs": 2}
    study = {
        "name": name,
        "objective": {"metric": "val/loss", "direction": "minimize", "value": "best"},
        "task": {"train": base | task},
        "space": {"optimizer.lr": {"type": "categorical", "choices": [1e-2, 1e-3]}},
        "sampler": "grid",
        "preflight": "off",
    }
    with Client(shared_service.url) as client, forked_zygotes():
        client.create_study(study)
        Agent(
            client,
            name=name,
            slots=[SlotPlan("cpu", [cpu()], 1)],
            work=AcceptedWork([name], until_done=True),
            processes=ProcessSettings(checkpoint_seconds=600.0, readable=(tmp_path,)),
            storage=StorageSettings(tmp_path, disk_bytes=0),
        ).work()
        best = client.best(name)
    shutil.rmtree(tmp_path / "data")

    command = ["--server", shared_service.url, "--json"]
    assert main.main([*command, "export-model", name, "--out", str(tmp_path / "m.zip")]) == 0, capfd.readouterr().err
    assert json.loads(capfd.readouterr().out)["out"] == str(tmp_path / "m.zip")
    bundle = load_bundle(tmp_path / "m.zip")
    assert bundle.facts["evidence"]["trial"] == best.number
    answers = bundle.predict(frame)
    row_of = {str(each): row for row, each in enumerate(answers.ids.tolist())}

    assert main.main([*command[:2], "predictions", name, str(best.number), "--split", "test"]) == 0
    own = list(csv.DictReader(capfd.readouterr().out.splitlines()))
    assert len(own) > 5
    for row in own:
        mine = answers.outputs[row_of[row["id"]]]
        columns = [f"p/{each}" for each in bundle.dataset.class_names] or ["prediction"]
        np.testing.assert_allclose(
            mine, np.array([float(row[each]) for each in columns]).squeeze(), rtol=1e-6, atol=1e-6
        )

    if isinstance(frame, pa.Table):
        arrow_csv.write_csv(frame, tmp_path / "new.csv")
    out = tmp_path / "out.csv"
    data = tmp_path / ("new.csv" if isinstance(frame, pa.Table) else "new")
    words = ["--data", str(data), "--out", str(out)]
    assert main.main([*command, "predict", name, *words]) == 0, capfd.readouterr().err
    assert json.loads(capfd.readouterr().out)["rows"] == ROWS
    by_service = out.read_text()
    assert main.main(["predict", "--bundle", str(tmp_path / "m.zip"), *words]) == 0
    assert out.read_text() == by_service
