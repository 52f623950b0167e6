"""Local storage: keeps files of running attempts, and the newest of ended ones within the budget."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from pathlib import Path

import pytest

from worker.agent.attempts import AttemptKey
from worker.agent.checkpoints.local_storage import KeptAttempt, LocalStorage, evictable

A, B, C = (AttemptKey(trial, 1) for trial in "abc")
KEPT = [KeptAttempt(A, 10, touched_at=3.0), KeptAttempt(B, 10, touched_at=1.0), KeptAttempt(C, 10, touched_at=2.0)]


def gone(
    budget_bytes: int, active: Collection[AttemptKey] = (), unsent: Collection[AttemptKey] = ()
) -> list[AttemptKey]:
    return [attempt.key for attempt in evictable(KEPT, budget_bytes, active, unsent)]


def test_the_oldest_goes_first_and_no_more_than_needed() -> None:
    assert gone(30) == []
    assert gone(29) == [B]
    assert gone(10) == [B, C]
    assert gone(0) == [B, C, A]


def test_running_attempts_keep_theirs_whatever_the_budget() -> None:
    assert gone(0, active={B, C}) == [A]
    assert gone(20, active={B}) == [C]


def test_predictions_not_yet_uploaded_are_deleted_last() -> None:
    assert gone(20, unsent={B}) == [C]
    assert gone(0, unsent={B}) == [C, A, B]


@pytest.fixture
def disk(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path, 2500)


def save(disk: LocalStorage, key: AttemptKey, at: float) -> Path:
    path = disk.checkpoint_folder(key) / "step-00000001.pt"
    path.write_bytes(b"x" * 1000)
    os.utime(path, (at, at))
    return path


def test_checkpoints_of_ended_attempts_are_deleted_until_the_rest_fits(
    disk: LocalStorage, caplog: pytest.LogCaptureFixture
) -> None:
    old, running, young = save(disk, A, 1), save(disk, B, 0), save(disk, C, 2)
    disk.output_files(A)[0].write_text("said")
    disk.fit(active={B}, unsent=set())
    assert [path.exists() for path in (old, running, young)] == [False, True, True]
    assert disk.output_files(A)[0].read_text() == "said", "what was printed is small, and may not be told yet"
    assert not caplog.records


def test_running_attempts_beyond_the_disk_budget_are_logged_once(
    disk: LocalStorage, caplog: pytest.LogCaptureFixture
) -> None:
    paths = [save(disk, key, 1) for key in (A, B, C)]
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            disk.fit(active={A, B, C}, unsent=set())
    assert all(path.exists() for path in paths)
    assert len(caplog.records) == 1
    assert "more than --disk-gib allows" in caplog.text


def test_an_ended_trial_leaves_no_logs_once_they_were_sent(disk: LocalStorage) -> None:
    for attempt in (1, 2):
        save(disk, AttemptKey("t1", attempt), 1)
    output = disk.output_files(AttemptKey("t1", 1))[0]
    output.write_text("said")
    disk.remove_trial("t1")
    assert list((disk.directory / "t1").iterdir()) == [output]
    disk.remove_output(AttemptKey("t1", 1))
    assert list(disk.directory.iterdir()) == []


def test_a_waiting_trial_keeps_its_local_checkpoints(disk: LocalStorage) -> None:
    path = save(disk, A, 1)
    disk.output_files(A)[0].write_text("said")
    disk.remove_output(A)
    assert path.exists()


def test_leftover_files_are_deleted_after_a_day(disk: LocalStorage) -> None:
    places = [disk.checkpoint_folder(AttemptKey(trial, 1)) for trial in ("old", "used", "young")]
    for place in places[:2]:
        os.utime(place, (1000, 1000))
        os.utime(place.parent, (1000, 1000))
    disk.clear({"used"})
    assert [place.exists() for place in places] == [False, True, True]
