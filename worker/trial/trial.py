"""The trial as training code of the user's own sees it: parameters, reports and verdicts, checkpoints.

Standard library only: a script under another Python may have it too.
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
from worker.trial.saved import save

if TYPE_CHECKING:
    from service.contract.lease import Grant

WAIT_SECONDS = 60.0
"""How long `report(…, wait=True)` waits at most: a service that is away does not hold training up."""

# What service/contract says of a report; the service's own models need more than the standard library.
MAX_STEP = 2**53
MAX_NAME = 128
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class Stopped(Exception):
    """Raise it to end a trial that has been told to stop, or that is given up, from wherever that is known."""


@dataclass(frozen=True)
class Told:
    """What a trial is told before it begins."""

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
        """What of a grant and its start concerns the user's code."""
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

    def __init__(self, told: Told, channel: Channel) -> None:
        self._told = told
        self._channel = channel
        self._saved_step = told.resume_step
        self.step: int | None = told.resume_step
        """The last step that was reported, at first that of the checkpoint; none: it begins afresh."""
        self.value: float | None = None
        """The value of the objective that was reported last."""
        self.last_finite: float | None = None
        """The last of these values that was finite; none: there was none."""
        self.heard = CONTINUE
        """The last word that the code was given on how to go on."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Name -> value of each parameter that the trial has; one whose condition does not hold is absent."""
        return self._told.parameters

    @property
    def study(self) -> str:
        """The study's name."""
        return self._told.study

    @property
    def number(self) -> int | None:
        """Its number in the study, from 0."""
        return self._told.number

    @property
    def seed(self) -> int:
        """The seed for everything random in this trial."""
        return self._told.seed

    @property
    def device(self) -> str:
        """`cpu` or `cuda`, the trial's own GPU, of several the first: no others are visible."""
        return self._told.device

    @property
    def metric(self) -> str:
        """The name of the objective's metric."""
        return self._told.metric

    @property
    def resource(self) -> str:
        """What a step is: `epoch` or `step`, as the study's resource says."""
        return self._told.resource

    @property
    def run_until(self) -> int | None:
        """The step to train to for now; none: until training ends by itself."""
        return self._told.run_until

    def report(self, step: int, metrics: Mapping[str, float], *, wait: bool = False) -> Order:
        """Report the metrics of one step and hear what to do: `action` is continue, pause or stop, `reason` says why.

        The answer is the newest verdict known now, often on an earlier step. With `wait` it is the verdict on this
        step, unless that takes longer than a minute.

        Raises:
            ValueError: the step falls, or is that of the checkpoint or before it; a metric is no number.
        """
        self.tell(step, metrics, is_awaited=wait)
        if wait:
            self._channel.wait(step, WAIT_SECONDS)
        return self.listen()

    def tell(self, step: int, metrics: Mapping[str, float], *, is_awaited: bool) -> None:
        """Report without waiting or hearing anything; raises as `report`."""
        step = operator.index(step)
        self._check_step(step)
        if not metrics:
            raise ValueError(
                f"step {step} was reported without metrics; name one, as in report({step}, {{'loss': 0.3}})"
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
        """Whether to save a checkpoint, if the code saves any, and return: the newest verdict says stop or pause."""
        return self.listen() != CONTINUE

    def save_checkpoint(self, content: bytes | str | os.PathLike[str]) -> None:
        """Keep a checkpoint of the last reported step: bytes, or the file at a path, which is copied.

        From the newest one the trial goes on wherever it is continued: after a pause, a lost host, a stopped worker.

        Raises:
            ValueError: no step was reported since the last checkpoint.
            OSError: the file cannot be read, or the disk is full.
        """
        if self.step is None or self.step == self._saved_step:
            raise ValueError("a checkpoint is of the step reported last, one of each; report a step before you save")
        self._channel.checkpointed(save(Path(self._told.checkpoints), self.step, content))
        self._saved_step = self.step

    def load_checkpoint(self) -> Path | None:
        """The file of the checkpoint to go on from, which is that of `step`; none: begin afresh."""
        return Path(self._told.resume) if self._told.resume is not None else None

    def listen(self) -> Order:
        """The newest order, as `report` answers it; at the rung that the trial is to train to, it is to pause."""
        order, until = self._channel.newest_order(), self._told.run_until
        if order.action == CONTINUE.action:
            is_there = self._told.pauses and self.step is not None and until is not None and self.step >= until
            order = Order("pause", f"trained to step {self.step}, its rung") if is_there else CONTINUE
        self.heard = order
        return order

    def _check_step(self, step: int) -> None:
        if step < 0:
            raise ValueError(f"step {step} is below 0; count steps from 0 or 1")
        if self.step is not None and step < self.step:
            raise ValueError(f"step {step} came after step {self.step}; steps never fall")
        if step == self._told.resume_step:
            raise ValueError(f"step {step} is that of the checkpoint; go on from step {step + 1}")


def _check_point(step: int, values: Mapping[str, float]) -> None:
    """Refuse here, in the user's own stack, what the service would refuse.

    Raises:
        ValueError: a step below 0 or beyond 2^53, or a metric whose name is too long or holds what no database stores.
    """
    if not 0 <= step <= MAX_STEP:
        raise ValueError(f"this report cannot be sent: step {step} is not from 0 to 2^53")
    for name in values:
        if not 1 <= len(name) <= MAX_NAME:
            raise ValueError(f"this report cannot be sent: the metric {name!r:.80} has not 1 to {MAX_NAME} characters")
        if _UNSTORABLE.search(name):
            raise ValueError(
                f"this report cannot be sent: the metric {name!r} holds a lone surrogate or a NUL character"
            )
