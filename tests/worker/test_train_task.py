"""The training core behind its channel: what it says in the middle of an epoch, and what it saves there."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.worker.grants import digits, grant, start_of
from worker.protocol import Advanced, Checkpointed, Inbox, Message, Order, Report, encode
from worker.trial import train_task
from worker.trial.channel import Channel

TASK = digits(batch_size=16, epochs=2)
"""Fifteen or more steps in an epoch."""


def heard(agent: socket.socket) -> list[Message]:
    """All that was said so far."""
    return Inbox().feed(agent.recv(1 << 20))


def test_in_the_middle_of_an_epoch_it_says_that_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.trial.channel._ADVANCED_SECONDS", 0.0)
    granted = grant(task=TASK)
    agent, process = socket.socketpair()
    with agent, process:
        train_task.run(granted, start_of(granted, tmp_path), Channel(process))
        said = heard(agent)
    first = next(index for index, message in enumerate(said) if isinstance(message, Report))
    assert sum(isinstance(message, Advanced) for message in said[:first]) > 10


def test_a_pause_before_the_first_step_finds_nothing_to_save(tmp_path: Path) -> None:
    granted = grant(task=TASK)
    agent, process = socket.socketpair()
    with agent, process:
        agent.sendall(encode(Order("pause", "because")))
        assert train_task.run(granted, start_of(granted, tmp_path), Channel(process)).result == "paused"
        assert not [message for message in heard(agent) if isinstance(message, Checkpointed)]
