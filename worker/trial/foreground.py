"""Executes a trial's task in this process: prints its reports for a person and sends nothing to an agent."""

from __future__ import annotations

import math
import os
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from service.contract.attempt import Outcome
from service.contract.base import TaskKind
from service.contract.claim import Grant
from worker.protocol import CheckpointSaved, Order, PredictionsSaved, Provenance, Start
from worker.trial.channel import CONTINUE, Channel
from worker.trial.tasks.dispatch import dispatch


class Foreground(Channel):
    """A channel that passes each report to `show` and orders a stop after `num_steps` steps (None: never).

    With `polls_each_step`, the training core asks for orders before each optimizer step, and these steps are counted.
    Otherwise the reported steps are counted.
    """

    def __init__(
        self, show: Callable[[int, Mapping[str, float]], None], num_steps: int | None, *, polls_each_step: bool
    ):
        # The socket is never used: every method of the channel that sends or receives is overridden here.
        with socket.socket() as unconnected:
            super().__init__(unconnected)
        self._show = show
        self._steps_left = num_steps
        self._polls_each_step = polls_each_step

    def send_provenance(self, provenance: Provenance) -> None:
        """Do nothing: no service receives it."""

    def send_progress(self) -> None:
        """Do nothing: no watchdog runs."""

    def send_checkpoint(self, saved: CheckpointSaved) -> None:
        """Do nothing: the checkpoint is deleted with its folder."""

    def send_predictions(self, saved: PredictionsSaved) -> None:
        """Do nothing: the predictions are deleted with their folder."""

    def report(self, step: int, metrics: Mapping[str, float], *, is_awaited: bool = False) -> Order:
        """Pass the metrics of a step to `show`; no service judges them."""
        del is_awaited
        self._show(step, metrics)
        if not self._polls_each_step:
            self._count()
        return self._order

    def wait(self, step: int, seconds: float) -> Order:
        """Return at once: there is no verdict to wait for."""
        del step, seconds
        return self._order

    def newest_order(self) -> Order:
        """Return the order, which is to stop after enough steps."""
        if self._polls_each_step:
            self._count()
        return self._order

    def _count(self) -> None:
        if self._steps_left is None or self._order != CONTINUE:
            return
        # A caller that asks before each step has completed one step fewer than it has asked.
        if self._steps_left < 1 or (not self._polls_each_step and self._steps_left == 1):
            self._order = Order("stop", "the requested number of steps is done")
        self._steps_left -= 1


def execute_in_foreground(
    grant: Grant,
    *,
    device: str,
    threads: int,
    num_steps: int | None,
    show: Callable[[int, Mapping[str, float]], None],
    teacher: Path | None = None,
    readable: Sequence[Path] | None = None,
) -> Outcome:
    """Execute a grant in this process; exceptions of the task are not caught, so that a debugger finds their origin.

    Args:
        grant: The trial to execute.
        device: `cpu` or `cuda`.
        threads: The number of CPU threads.
        num_steps: After how many steps to stop; None: at the trial's end.
        show: Called with the step and metrics of each report.
        teacher: The teacher's checkpoint, if the grant names one.
        readable: Folders below which the paths in a training configuration must lie; None: any path is allowed.
    """
    channel = Foreground(show, num_steps, polls_each_step=grant.task_kind is TaskKind.TRAIN)
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
