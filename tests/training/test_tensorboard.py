"""Event files, read back by TensorBoard itself."""

import json
import math
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.event_files import curves, parameters, read
from tests.worker.waiting import eventually
from worker.training import Report, TrainingConfig, Verdict, train
from worker.training.callbacks.event_files import EventFiles


def reported(config: TrainingConfig, **arguments: Any) -> tuple[list[Report], Any]:
    reports: list[Report] = []

    def on_report(report: Report) -> Verdict:
        reports.append(report)
        return Verdict.CONTINUE

    return reports, train(config, seed=1, on_report=on_report, **arguments)


def of(reports: Sequence[Report], name: str) -> list[tuple[int, float]]:
    return [(report.step, report.metrics[name]) for report in reports]


def test_event_files_hold_what_the_training_reported(configure, tmp_path: Path):
    config = configure(epochs=3, callbacks=[{"name": "tensorboard", "directory": str(tmp_path)}])
    reports, result = reported(config)
    [folder] = tmp_path.iterdir()
    assert folder.name.startswith("mlp-")
    told = curves(folder)
    final = {f"final/{name}": value for name, value in result.metrics.items()}
    assert set(told) == {*reports[0].metrics, "learning_rate", *final}
    assert {"final/test/accuracy", "final/seconds"} <= set(told)
    for name in reports[0].metrics:
        assert told[name] == [(step, pytest.approx(value)) for step, value in of(reports, name)]
    for name, value in final.items():
        assert told[name] == [(3, pytest.approx(value))]
    assert [step for step, _ in told["learning_rate"]] == [1, 2, 3]
    assert 0 < told["learning_rate"][2][1] < told["learning_rate"][0][1] <= 0.01  # a cosine
    assert parameters(folder).items() >= {
        "optimizer.name": "adamw", "optimizer.lr": 0.01, "batch_size": 16.0, "compile": False, "seed": 1.0,
        "model.hidden": json.dumps([16]),
    }.items()  # fmt: skip


def test_a_classification_ends_with_its_confusion(configure, tmp_path: Path):
    config = configure(epochs=1, callbacks=[{"name": "tensorboard", "directory": str(tmp_path)}])
    _, result = reported(config)
    [folder] = tmp_path.iterdir()
    [event] = read(folder).Tensors("test/confusion/text_summary")
    header, _, *rows = event.tensor_proto.string_val[0].decode().splitlines()
    assert header == "| true ↓ predicted → | class_0 | class_1 | class_2 |"
    assert rows == [
        f"| **class_{index}** | {' | '.join(map(str, row))} |" for index, row in enumerate(result.confusion["test"])
    ]


def test_a_resumed_training_keeps_its_folder_and_writes_each_step_once(configure, tmp_path: Path):
    config = configure(epochs=4, callbacks=[{"name": "tensorboard", "directory": str(tmp_path / "out")}])
    saved = tmp_path / "saved"

    def dies(report: Report) -> Verdict:
        if report.step == 4:
            raise KeyboardInterrupt
        return Verdict.CONTINUE

    reported(config, checkpoint_dir=saved, until_epoch=2)
    # What was reported of epoch 3 is of a checkpoint that was lost: it is trained again.
    [newest] = saved.glob("*2.json")
    kept = {path: path.read_bytes() for path in (newest, newest.with_suffix(".pt"))}
    with pytest.raises(KeyboardInterrupt):
        train(config, seed=1, on_report=dies, checkpoint_dir=saved)
    for path in saved.iterdir():
        path.unlink()
    for path, content in kept.items():
        path.write_bytes(content)
    again, _ = reported(config, checkpoint_dir=saved)
    assert [report.step for report in again] == [3, 4]
    [folder] = (tmp_path / "out").iterdir()
    assert [step for step, _ in curves(folder)["val/loss"]] == [1, 2, 3, 4]


def test_trainings_that_differ_have_folders_of_their_own(configure, tmp_path: Path):
    names = ({"name": "tensorboard", "directory": str(tmp_path)}, {"name": "norms"})
    for seed, callbacks in ((1, names), (2, names), (2, names[:1])):
        train(configure(epochs=1, callbacks=list(callbacks)), seed=seed)
    train(configure(epochs=1, callbacks=list(names), batch_size=8), seed=1)
    assert len(list(tmp_path.iterdir())) == 3


def test_written_entries_are_on_disk_before_the_file_is_closed(tmp_path: Path):
    with closing(EventFiles(tmp_path, 1, "callbacks")) as files:
        for step in (1, 2, 3):
            files.scalars(step, {"loss": step / 2})
        assert eventually(lambda: curves(tmp_path).get("loss", [])[2:] == [(3, 1.5)])


def test_a_value_that_is_no_number_is_shown_as_none(tmp_path: Path):
    with closing(EventFiles(tmp_path, 1, "callbacks")) as files:
        files.scalars(1, {"loss": float("nan")})
    assert math.isnan(curves(tmp_path)["loss"][0][1])
