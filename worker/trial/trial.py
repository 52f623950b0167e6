"""The trial as custom training code sees it: parameters, reports and orders, checkpoints.

Uses the standard library only, so that a script under another Python interpreter can use it too.
"""

from __future__ import annotations

import math
import operator
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from worker.protocol import Order, Start
from worker.trial.channel import CONTINUE, Channel
from worker.trial.checkpoint_file import save

if TYPE_CHECKING:
    from service.contract.claim import Grant

WAIT_SECONDS = 60.0
"""The longest time that `report(…, wait=True)` waits, so that an unreachable service does not block training."""

# The limits of service/contract for a report, repeated here because its models need more than the standard library.
MAX_STEP = 2**53
MAX_NAME = 128
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class Stopped(Exception):
    """Raise it anywhere in custom code to end a trial that is ordered to stop, or that the code gives up."""


@dataclass(frozen=True)
class TrialInfo:
    """The facts about a trial that its code receives when it starts."""

    study: str
    number: int | None
    parameters: Mapping[str, Any]
    seed: int
    device: str
    metric: str
    resource: str
    run_until: int | None
    pauses: bool
    checkpoints: str
    resume_step: int | None
    resume: str | None

    @classmethod
    def of(cls, grant: Grant, start: Start) -> Self:
        """Return the facts of a grant and its start message that custom code needs."""
        return cls(
            study=grant.study_name,
            number=grant.number,
            parameters=grant.parameters,
            seed=grant.seed,
            device=start.device,
            metric=grant.monitor.metric,
            resource=grant.resource,
            run_until=grant.run_until,
            pauses=grant.pauses,
            checkpoints=start.checkpoints,
            resume_step=grant.resume.step if grant.resume is not None else None,
            resume=start.resume,
        )


class Trial:
    """One trial; use it from one thread at a time."""

    def __init__(self, info: TrialInfo, channel: Channel) -> None:
        self._info = info
        self._channel = channel
        self._saved_step = info.resume_step
        self.step: int | None = info.resume_step
        """The last reported step, at first the step of the checkpoint; None if the trial starts from scratch."""
        self.value: float | None = None
        """The last reported value of the objective."""
        self.last_finite: float | None = None
        """The last reported value of the objective that was finite; None if there was none."""
        self.last_order = CONTINUE
        """The last order that the code received."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The trial's parameters, by name; a parameter whose condition does not hold is absent."""
        return self._info.parameters

    @property
    def study(self) -> str:
        """The study's name."""
        return self._info.study

    @property
    def number(self) -> int | None:
        """The trial's number in the study, from 0."""
        return self._info.number

    @property
    def seed(self) -> int:
        """The seed for everything random in this trial."""
        return self._info.seed

    @property
    def device(self) -> str:
        """`cpu` or `cuda`; `cuda` is the first of the trial's own GPUs, and no others are visible."""
        return self._info.device

    @property
    def metric(self) -> str:
        """The name of the objective's metric."""
        return self._info.metric

    @property
    def resource(self) -> str:
        """What a step counts: `epoch` or `step`, according to the study's resource."""
        return self._info.resource

    @property
    def run_until(self) -> int | None:
        """The step to train to for now, or None to train until training ends by itself."""
        return self._info.run_until

    def report(self, step: int, metrics: Mapping[str, float], *, wait: bool = False) -> Order:
        """Report the metrics of one step and return the order for what to do next.

        Args:
            step: The step, which may not fall and must be above the checkpoint's.
            metrics: The metrics by name; one of them should be the objective's.
            wait: Whether to wait, for at most a minute, for the verdict on this step.

        Returns:
            The newest order: its `action` is continue, pause or stop, and its `reason` says why. Without `wait`, it
                often answers an earlier step.

        Raises:
            ValueError: The step falls, or is at or before the checkpoint's; there are no metrics; or one is no number.
        """
        self.send_report(step, metrics, is_awaited=wait)
        if wait:
            self._channel.wait(step, WAIT_SECONDS)
        return self.poll()

    def send_report(self, step: int, metrics: Mapping[str, float], *, is_awaited: bool) -> None:
        """Report without waiting and without returning an order; raises the same errors as `report`."""
        step = operator.index(step)
        self._check_step(step)
        if not metrics:
            raise ValueError(
                f"step {step} was reported without metrics; pass at least one, as in report({step}, {{'loss': 0.3}})"
            )
        values = {name: float(value) for name, value in metrics.items()}
        _check_point(step, values)
        self._channel.report(step, values, is_awaited=is_awaited)
        self.step = step
        self.value = values.get(self.metric, self.value)
        if self.value is not None and math.isfinite(self.value):
            self.last_finite = self.value

    @property
    def should_stop(self) -> bool:
        """Whether to save a checkpoint, if the code saves any, and return: the newest order is to stop or to pause."""
        return self.poll() != CONTINUE

    def save_checkpoint(self, content: bytes | str | os.PathLike[str]) -> None:
        """Save a checkpoint of the last reported step: bytes, or the file at a path, which is copied.

        The trial resumes from the newest checkpoint after a pause, a lost host or a stopped worker, on any host.

        Raises:
            ValueError: No step was reported since the last checkpoint.
            OSError: The file cannot be read, or the disk is full.
        """
        if self.step is None or self.step == self._saved_step:
            raise ValueError("no step was reported since the last checkpoint; report a step before you save one")
        self._channel.send_checkpoint(save(Path(self._info.checkpoints), self.step, content))
        self._saved_step = self.step

    def load_checkpoint(self) -> Path | None:
        """Return the file of the checkpoint to resume from, which is of step `step`; None: start from scratch."""
        return Path(self._info.resume) if self._info.resume is not None else None

    def poll(self) -> Order:
        """Return the newest order, as `report` does; from the trial's rung on, that is an order to pause."""
        order, until = self._channel.newest_order(), self._info.run_until
        if order.action == CONTINUE.action:
            is_at_rung = self._info.pauses and self.step is not None and until is not None and self.step >= until
            order = Order("pause", f"trained to step {self.step}, its rung") if is_at_rung else CONTINUE
        self.last_order = order
        return order

    def _check_step(self, step: int) -> None:
        if step < 0:
            raise ValueError(f"step {step} is below 0; count steps from 0 or 1")
        if self.step is not None and step < self.step:
            raise ValueError(f"step {step} was reported after step {self.step}; a step must not be below the last one")
        if step == self._info.resume_step:
            raise ValueError(f"step {step} is the step of the checkpoint; continue with step {step + 1}")


def _check_point(step: int, values: Mapping[str, float]) -> None:
    """Refuse a report that the service would refuse, so that the error appears in the stack of the custom code.

    Raises:
        ValueError: The step is below 0 or above 2^53, or a metric's name is empty, too long or not storable in a
            database.
    """
    if not 0 <= step <= MAX_STEP:
        raise ValueError(f"this report cannot be sent: step {step} is not between 0 and 2^53")
    for name in values:
        if not 1 <= len(name) <= MAX_NAME:
            raise ValueError(
                f"this report cannot be sent: the metric name {name!r:.80} is not 1 to {MAX_NAME} characters long"
            )
        if _UNSTORABLE.search(name):
            raise ValueError(
                f"this report cannot be sent: the metric name {name!r} contains a lone surrogate or a NUL character"
            )
