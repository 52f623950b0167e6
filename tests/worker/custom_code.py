"""Shared by tests of users' own code: a trial whose agent is the test, and code that a zygote can import."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from worker.protocol import Message, MessageDecoder, Order, VerdictReady, encode
from worker.trial.channel import Channel
from worker.trial.trial import Trial, TrialInfo


class Agent:
    """The other end of a trial's channel."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._inbox = MessageDecoder()

    def order(self, action: str, reason: str = "because") -> None:
        self._connection.sendall(encode(Order(action, reason)))

    def answer(self, step: int) -> None:
        self._connection.sendall(encode(VerdictReady(step)))

    def heard(self) -> list[Message]:
        """What the trial has said since the last time."""
        try:
            return self._inbox.feed(self._connection.recv(1 << 16, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return []


def told(directory: Path, **changes: Any) -> TrialInfo:
    fields: dict[str, Any] = {
        "study": "s",
        "number": 3,
        "parameters": {"lr": 0.1},
        "seed": 7,
        "device": "cpu",
        "metric": "loss",
        "resource": "epoch",
        "run_until": None,
        "pauses": False,
        "checkpoints": str(directory / "checkpoints"),
        "resume_step": None,
        "resume": None,
    }
    return TrialInfo(**{**fields, **changes})


@contextmanager
def trial_and_agent(directory: Path, **changes: Any) -> Iterator[tuple[Trial, Agent]]:
    """A trial that was told this, and the agent's end of its channel."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Trial(told(directory, **changes), Channel(theirs)), Agent(ours)
