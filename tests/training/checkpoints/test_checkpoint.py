"""Checkpoints are complete or absent: crashes, damage and foreign content."""

import json
import logging
import os
import time
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from worker.training.checkpoints.checkpoint import (
    Checkpointer,
    Manifest,
    SaveInterval,
    import_checkpoint,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)


def test_a_saved_checkpoint_is_loaded(tmp_path: Path):
    content = {"weights": torch.arange(3.0), "epoch": 4, "best": None, "names": ["a"], "metrics": {"val/loss": 0.5}}
    manifest = save_checkpoint(tmp_path / "new" / "directory", 4, content)
    loaded = load_checkpoint(tmp_path / "new" / "directory")
    assert loaded is not None
    assert torch.equal(loaded.pop("weights"), content.pop("weights"))
    assert loaded == content
    assert newest_checkpoint(tmp_path / "new" / "directory") == manifest


def test_an_empty_or_missing_directory_has_none(tmp_path: Path):
    assert load_checkpoint(tmp_path) is None
    assert load_checkpoint(tmp_path / "absent") is None


def test_the_newest_two_are_kept(tmp_path: Path):
    for step in (8, 9, 10, 100):
        save_checkpoint(tmp_path, step, {"step": step})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step-00000010.json", "step-00000010.pt", "step-00000100.json", "step-00000100.pt",
    ]  # fmt: skip


def test_beside_two_from_the_middle_of_an_epoch_the_last_of_an_end_stays(tmp_path: Path):
    def kept(step: int, batch: int = 0) -> list[str]:
        manifest = save_checkpoint(tmp_path, step, {"at": [step, batch]}, batch)
        assert newest_checkpoint(tmp_path) == manifest
        assert load_checkpoint(tmp_path) == {"at": [step, batch]}
        return sorted(path.stem.removeprefix("step-0000000") for path in tmp_path.glob("*.pt"))

    assert kept(0, 50) == ["0-batch-00000050"]
    assert kept(1) == ["0-batch-00000050", "1"]
    assert kept(1, 50) == ["1", "1-batch-00000050"]
    assert kept(1, 100) == ["1", "1-batch-00000050", "1-batch-00000100"]
    assert kept(1, 150) == ["1", "1-batch-00000100", "1-batch-00000150"]
    assert kept(2) == ["1-batch-00000150", "2"]
    assert kept(3) == ["2", "3"]


@pytest.mark.parametrize("damage", ["truncated", "altered", "gone", "manifest"])
def test_a_damaged_one_gives_way_to_the_one_before(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture):
    save_checkpoint(tmp_path, 1, {"step": 1})
    file = tmp_path / save_checkpoint(tmp_path, 2, {"step": 2}).file
    content = bytearray(file.read_bytes())
    match damage:
        case "truncated":
            file.write_bytes(content[:-10])
        case "altered":
            content[len(content) // 2] ^= 1
            file.write_bytes(content)
        case "gone":
            file.unlink()
        case "manifest":
            file.with_suffix(".json").write_text("{")
    with caplog.at_level(logging.WARNING):
        assert load_checkpoint(tmp_path) == {"step": 1}
    assert "is damaged or missing" in caplog.text


@pytest.mark.parametrize("survived", range(4))
def test_a_crash_at_any_write_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survived: int):
    save_checkpoint(tmp_path, 1, {"step": 1})
    real, calls = os.fsync, iter(range(100))

    def crash(descriptor: int) -> None:
        if next(calls) == survived:
            raise KeyboardInterrupt
        real(descriptor)

    # Each of the four syncs is a place where the machine may go down: file, its directory, manifest, its directory.
    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, 2, {"step": 2})
    monkeypatch.undo()
    assert load_checkpoint(tmp_path) == {"step": 2 if survived == 3 else 1}
    save_checkpoint(tmp_path, 2, {"step": 2})
    assert load_checkpoint(tmp_path) == {"step": 2}
    assert not list(tmp_path.glob("*.tmp"))


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path):
    class Foreign:
        def __reduce__(self):
            return (OrderedDict.fromkeys, (["a"],))

    save_checkpoint(tmp_path, 1, {"x": Foreign()})
    with pytest.raises(Exception, match="Weights only load failed"):
        load_checkpoint(tmp_path)


def test_the_manifest_says_what_the_file_is(tmp_path: Path):
    manifest = save_checkpoint(tmp_path, 7, {"step": 7})
    written = json.loads((tmp_path / "step-00000007.json").read_text())
    assert written == {
        "step": 7, "file": "step-00000007.pt", "sha256": manifest.sha256, "size": manifest.size,
        "batch": 0, "format": 1,
    }  # fmt: skip


@pytest.mark.parametrize("batch", [0, 50])
def test_a_file_from_elsewhere_becomes_the_checkpoint(tmp_path: Path, batch: int):
    saved = save_checkpoint(tmp_path / "there", 3, {"step": 3}, batch)
    arrived = tmp_path / "resume.pt"
    (tmp_path / "there" / saved.file).rename(arrived)
    assert import_checkpoint(tmp_path / "here", 3, arrived, batch) == saved
    assert load_checkpoint(tmp_path / "here") == {"step": 3}
    assert not arrived.exists()


@pytest.mark.parametrize(
    ("since", "cost", "is_due"),
    [
        (59, 0.0, False),
        (60, 0.0, True),
        (60, 0.6, True),
        (99, 1.0, False),  # a second to save: not before a hundred have passed
        (100, 1.0, True),
        (599, 30.0, False),
        (600, 30.0, True),  # however long it takes, no more than ten minutes are at stake
    ],
)
def test_saving_takes_a_hundredth_of_the_time_but_never_waits_longer_than_ten_minutes(
    since: float, cost: float, is_due: bool
):
    assert SaveInterval(60).is_due(since, cost) is is_due


def test_a_checkpoint_that_is_not_due_is_saved_only_if_forced(tmp_path: Path):
    saved = []
    checkpointer = Checkpointer(tmp_path, SaveInterval(1000), saved.append)
    checkpointer.maybe_save(1, lambda: pytest.fail("a snapshot costs, too"), force=False)
    checkpointer.maybe_save(2, lambda: {"step": 2}, force=True)
    assert saved == [newest_checkpoint(tmp_path)]
    assert load_checkpoint(tmp_path) == {"step": 2}


def test_the_middle_of_an_epoch_is_saved_only_by_a_cadence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    saved = []
    for cadence in (None, SaveInterval(0)):
        checkpointer = Checkpointer(tmp_path, cadence, saved.append)
        checkpointer.maybe_save_mid_epoch(3, lambda: pytest.fail("the epoch may be over in a moment"), 50)
        later = time.perf_counter() + 1
        monkeypatch.setattr("worker.training.checkpoints.checkpoint.time.perf_counter", lambda: later)  # noqa: B023
        checkpointer.maybe_save_mid_epoch(3, lambda: {"step": 3}, 60)
        monkeypatch.undo()
    assert [(manifest.step, manifest.batch) for manifest in saved] == [(3, 60)]


@pytest.mark.parametrize(
    ("epoch_seconds", "save_seconds", "num_ends", "num_middles"),
    [
        (1, 0.1, 3600 / 60, 0),  # only ends, as often as if nothing else were saved
        (100, 0.1, 3600 / 100, 0),
        (130, 0.1, 3600 / 130, 3600 / 130),
        (3600, 0.1, 1, 29),
        (1000, 3.0, 3, 5),
        (3600, 3.0, 1, 5),
        (3600, 60.0, 1, 5),  # more than 1 %, but no more than ten minutes are at stake
    ],
)
def test_ends_come_first_and_with_the_middles_take_a_hundredth_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    epoch_seconds: int,
    save_seconds: float,
    num_ends: float,
    num_middles: float,
):
    """An hour of training, with a batch a second, on a clock of its own."""
    now, saved = 0.0, []

    def save(directory: Path, step: int, content: object, batch: int) -> Manifest:
        nonlocal now
        now += save_seconds
        return Manifest(step, "", "", 0, batch)

    monkeypatch.setattr("worker.training.checkpoints.checkpoint.time.perf_counter", lambda: now)
    monkeypatch.setattr("worker.training.checkpoints.checkpoint.save_checkpoint", save)
    checkpointer = Checkpointer(tmp_path, SaveInterval(60), lambda manifest: saved.append((now, manifest.batch)))
    longest, before = 0.0, 0.0
    for second in range(1, 3601):
        now += 1
        epoch, batch = divmod(second, epoch_seconds)
        if batch:
            checkpointer.maybe_save_mid_epoch(epoch, dict, batch)
        else:
            checkpointer.maybe_save(epoch, dict, force=False)
        longest, before = max(longest, now - before), saved[-1][0] if saved else 0.0
    assert sum(not batch for _, batch in saved) == pytest.approx(num_ends, abs=1)
    assert sum(batch > 0 for _, batch in saved) == pytest.approx(num_middles, abs=1)
    assert longest <= 600 + 1 + save_seconds
    assert save_seconds > 6 or len(saved) * save_seconds <= 0.01 * now + save_seconds


def test_the_same_place_is_not_saved_twice(tmp_path: Path):
    saved = []
    checkpointer = Checkpointer(tmp_path, None, saved.append, start_position=(3, 50))
    checkpointer.maybe_save(3, lambda: pytest.fail("that is what it began with"), force=True, batch=50)
    for _ in range(2):
        checkpointer.maybe_save(4, lambda: {"step": 4}, force=True)
    assert [(manifest.step, manifest.batch) for manifest in saved] == [(4, 0)]


def test_without_a_directory_nothing_is_saved():
    Checkpointer(None, None, pytest.fail).maybe_save(1, lambda: pytest.fail("a snapshot costs, too"), force=True)
