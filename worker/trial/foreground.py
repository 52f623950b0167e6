"""Carries a trial's task out in this very process: told to a person instead of an agent, and recorded nowhere."""

from __future__ import annotations

import math
import os
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from service.contract.base import TaskKind
from service.contract.lease import Grant, Outcome
from worker.protocol import Checkpointed, Order, Predicted, Provenance, Start
from worker.trial.channel import CONTINUE, Channel
from worker.trial.task import dispatch


class Foreground(Channel):
    """Says each report, and orders a stop after so many steps (None: never).

    Steps are the optimizer's where the training core asks for orders before each, else those that are reported.
    """

    def __init__(self, say: Callable[[int, Mapping[str, float]], None], num_steps: int | None, *, asks_each: bool):
        # Nothing is ever sent: what a channel sends and hears is told here instead.
        with socket.socket() as unconnected:
            super().__init__(unconnected)
        self._say = say
        self._left = num_steps
        self._asks_each = asks_each

    def provenance(self, told: Provenance) -> None:
        """Nobody compares it."""

    def advanced(self) -> None:
        """Nobody watches over it but the person."""

    def checkpointed(self, saved: Checkpointed) -> None:
        """It goes with its folder."""

    def predicted(self, saved: Predicted) -> None:
        """They go with it."""

    def report(self, step: int, metrics: Mapping[str, float], *, is_awaited: bool = False) -> Order:
        """Say the metrics of a step; nobody judges them."""
        del is_awaited
        self._say(step, metrics)
        if not self._asks_each:
            self._count()
        return self._order

    def wait(self, step: int, seconds: float) -> Order:
        """There is no verdict to wait for."""
        del step, seconds
        return self._order

    def newest_order(self) -> Order:
        """To stop, once there were enough steps."""
        if self._asks_each:
            self._count()
        return self._order

    def _count(self) -> None:
        if self._left is None or self._order != CONTINUE:
            return
        # Who asks before each step has done one less than it has asked.
        if self._left < 1 or (not self._asks_each and self._left == 1):
            self._order = Order("stop", "as many steps as asked for")
        self._left -= 1


def carry_out(
    grant: Grant,
    *,
    device: str,
    threads: int,
    num_steps: int | None,
    say: Callable[[int, Mapping[str, float]], None],
    teacher: Path | None = None,
    readable: Sequence[Path] | None = None,
) -> Outcome:
    """Execute a grant here; raises what the task raises, so that a debugger finds it where it happened."""
    channel = Foreground(say, num_steps, asks_each=grant.task_kind is TaskKind.TRAIN)
    with tempfile.TemporaryDirectory(prefix="assayer-") as folder:
        start = Start(
            grant=grant.model_dump(mode="json"),
            device=device,
            threads=threads,
            stdout=os.devnull,
            stderr=os.devnull,
            checkpoints=folder,
            checkpoint_seconds=math.inf,
            teacher=None if teacher is None else str(teacher),
            readable=None if readable is None else [str(folder) for folder in readable],
        )
        return dispatch(grant, start, channel)
