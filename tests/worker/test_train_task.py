"""The task kind `train`: what a grant must bring before anything is trained."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.worker.grants import digits, grant, start_of
from worker.training import ConfigError
from worker.trial.channel import Channel
from worker.trial.classify import failed
from worker.trial.train_task import run


@pytest.fixture
def channel() -> Iterator[Channel]:
    here, there = socket.socketpair()
    with here, there:
        yield Channel(here)


def test_a_teacher_whose_checkpoint_is_gone_makes_the_trial_invalid(channel: Channel, tmp_path: Path) -> None:
    granted = grant(task=digits(loss={"name": "distill", "teacher": "teaching/7"}))
    with pytest.raises(ConfigError, match=r"loss\.teacher: .* teaching/7 is gone") as found:
        run(granted, start_of(granted, tmp_path), channel)
    assert failed(found.value).failure == "invalid"


def test_a_teacher_that_is_a_path_is_read_there(channel: Channel, tmp_path: Path) -> None:
    granted = grant(task=digits(loss={"name": "distill", "teacher": str(tmp_path / "large.pt")}))
    start = replace(start_of(granted, tmp_path), teacher=str(tmp_path))
    with pytest.raises(ConfigError, match=r"loss\.teacher: there is no '.*large\.pt'"):
        run(granted, start, channel)
