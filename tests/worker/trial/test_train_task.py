"""The training core behind its channel: mid-epoch messages and checkpoints, and teachers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.worker.grants import digits, grant, start_of
from worker.protocol import CheckpointSaved, Message, MessageDecoder, Order, Progress, Report, encode
from worker.training import ConfigError
from worker.trial.channel import Channel
from worker.trial.classify import failure_outcome
from worker.trial.tasks import train

TASK = digits(batch_size=16, epochs=2)
"""Fifteen or more steps in an epoch."""


def heard(agent: socket.socket) -> list[Message]:
    """All that was said so far."""
    return MessageDecoder().feed(agent.recv(1 << 20))


def test_a_long_epoch_sends_signs_of_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.trial.channel._PROGRESS_SECONDS", 0.0)
    granted = grant(task=TASK)
    agent, process = socket.socketpair()
    with agent, process:
        train.run(granted, start_of(granted, tmp_path), Channel(process))
        said = heard(agent)
    first = next(index for index, message in enumerate(said) if isinstance(message, Report))
    assert sum(isinstance(message, Progress) for message in said[:first]) > 10


def test_a_pause_before_the_first_step_finds_nothing_to_save(tmp_path: Path) -> None:
    granted = grant(task=TASK)
    agent, process = socket.socketpair()
    with agent, process:
        agent.sendall(encode(Order("pause", "because")))
        assert train.run(granted, start_of(granted, tmp_path), Channel(process)).result == "paused"
        assert not [message for message in heard(agent) if isinstance(message, CheckpointSaved)]


@pytest.fixture
def channel() -> Iterator[Channel]:
    here, there = socket.socketpair()
    with here, there:
        yield Channel(here)


CSV = {"name": "csv", "path": "nowhere.csv", "target": "price", "kind": "regression"}


@pytest.mark.parametrize(
    ("parameters", "failure"),
    [({"optimizer.lr": 0.1}, ("host_fault", "study")), ({"data.path": "nowhere.csv"}, ("invalid", "host"))],
)
def test_a_missing_file_is_the_hosts_fault_unless_a_parameter_names_it(
    channel: Channel, tmp_path: Path, parameters: dict[str, Any], failure: tuple[str, str]
) -> None:
    granted = grant(task=digits(data=CSV, loss={"name": "mse"}), parameters=parameters)
    with pytest.raises(ConfigError, match=r"data\.path: there is no file 'nowhere\.csv'") as found:
        train.run(granted, start_of(granted, tmp_path), channel)
    outcome = failure_outcome(found.value)
    assert (outcome.failure, outcome.scope) == failure


def test_a_teacher_whose_checkpoint_is_gone_makes_the_trial_invalid(channel: Channel, tmp_path: Path) -> None:
    granted = grant(task=digits(loss={"name": "distill", "teacher": "teaching/7"}))
    with pytest.raises(ConfigError, match=r"loss\.teacher: .* teaching/7 no longer exists") as found:
        train.run(granted, start_of(granted, tmp_path), channel)
    assert failure_outcome(found.value).failure == "invalid"


def test_a_teacher_that_is_a_path_is_read_there(channel: Channel, tmp_path: Path) -> None:
    granted = grant(task=digits(loss={"name": "distill", "teacher": str(tmp_path / "large.pt")}))
    start = replace(start_of(granted, tmp_path), teacher=str(tmp_path))
    with pytest.raises(ConfigError, match=r"loss\.teacher: there is no '.*large\.pt'"):
        train.run(granted, start, channel)


def test_an_automatic_batch_size_that_no_preflight_chose_is_limited_by_the_data(tmp_path: Path) -> None:
    granted = grant(task=digits(batch_size="auto", epochs=1, data={"name": "digits", "limit": 40}))
    config = train._configuration(granted, None)
    assert config.batch_size == 40
    assert train._configuration(grant(task=digits(batch_size="auto")), None).batch_size == 64
