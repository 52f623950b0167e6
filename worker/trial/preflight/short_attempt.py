"""Executes a few steps of a function or command in a process of its own, and records what it reports."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.contract.attempt import FailureClass, Outcome
from service.contract.claim import Grant
from worker.protocol import CheckpointSaved, Order, Start
from worker.trial.classify import failure_outcome
from worker.trial.foreground import Foreground
from worker.trial.tasks.dispatch import dispatch

_PATIENCE_REPORTS = 20
"""So many reports after the order to stop, the process is ended."""


@dataclass(frozen=True)
class ShortAttempt:
    """What a task did.

    Attributes:
        reports: step and metrics of each report.
        seconds: the seconds from the start to each report.
        checkpoints: the step and a copy of each checkpoint.
        outcome: how it ended; None: it was ended because the time was over, or it ignored the order to stop.
        ignored_order: whether it went on after the order to stop.
    """

    reports: Sequence[tuple[int, Mapping[str, float]]] = ()
    seconds: Sequence[float] = ()
    checkpoints: Sequence[tuple[int, Path]] = ()
    outcome: Outcome | None = None
    ignored_order: bool = False

    @property
    def failure(self) -> str | None:
        """The message of a failed attempt; None: it did not fail, or its objective only was no finite number."""
        outcome = self.outcome
        if outcome is None or not outcome.has_failed or outcome.failure is FailureClass.DIVERGED:
            return None
        return outcome.message

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each metric, final metrics included."""
        final = {} if self.outcome is None else {name: _number(value) for name, value in self.outcome.metrics.items()}
        reported = {name: value for _, metrics in self.reports for name, value in metrics.items()}
        return {**reported, **final}


@dataclass
class _Files:
    """The files of one attempt, in a folder of its own."""

    folder: Path
    events: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.events = self.folder / "events.jsonl"
        for name in ("stdout", "stderr"):
            (self.folder / name).touch()

    def add(self, **event: Any) -> None:
        """Append an event."""
        with self.events.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """Return the events so far; one that is half written is left out."""
        if not self.events.exists():
            return []
        events = []
        for line in self.events.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):
                events.append(json.loads(line))
        return events


class _Recorder(Foreground):
    """A channel that writes reports and checkpoints to a file, and orders a stop after some reports."""

    def __init__(self, files: _Files, num_reports: int) -> None:
        super().__init__(self._record, num_reports, polls_each_step=False)
        self._files, self._started = files, time.monotonic()
        self._num_reports, self._num_seen = num_reports, 0

    def _record(self, step: int, metrics: Mapping[str, float]) -> None:
        self._num_seen += 1
        self._files.add(step=step, metrics=dict(metrics), seconds=time.monotonic() - self._started)
        if self._num_seen >= self._num_reports + _PATIENCE_REPORTS:
            self._files.add(ignored=True)
            os.killpg(0, signal.SIGKILL)

    def send_checkpoint(self, saved: CheckpointSaved) -> None:
        """Keep a copy of the checkpoint."""
        copy = self._files.folder / f"checkpoint-{saved.step}"
        shutil.copyfile(saved.path, copy)
        self._files.add(checkpoint=saved.step, path=str(copy))

    def wait(self, step: int, seconds: float) -> Order:
        """Return at once: no service judges the report."""
        del step, seconds
        return self.newest_order()


def execute_short(
    grant: Grant,
    folder: Path,
    *,
    device: str,
    threads: int,
    num_reports: int,
    seconds: float,
    resume: Path | None = None,
) -> ShortAttempt:
    """Execute a task until it has reported some steps, and return what it did.

    The process and all that it started are killed after `seconds`.

    Args:
        grant: the trial to execute.
        folder: where its files go; it must not exist yet.
        device: cpu or cuda.
        threads: the number of CPU threads.
        num_reports: after how many reports it is ordered to stop.
        seconds: how long it may take.
        resume: the checkpoint that `grant.resume` names.
    """
    files = _Files(folder)
    start = Start(
        grant=grant.model_dump(mode="json"),
        device=device,
        threads=threads,
        stdout=str(folder / "stdout"),
        stderr=str(folder / "stderr"),
        checkpoints=str(folder / "checkpoints"),
        checkpoint_seconds=math.inf,
        resume=None if resume is None else str(resume),
    )
    (folder / "checkpoints").mkdir()
    # Forked as a worker forks an attempt, so that the custom code finds torch loaded and its modules not yet imported.
    process = multiprocessing.get_context("fork").Process(target=_execute, args=(grant, start, files, num_reports))
    process.start()
    process.join(seconds)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid or 0, signal.SIGKILL)  # what the task started dies with it
    process.join()
    return _read(files)


def _execute(grant: Grant, start: Start, files: _Files, num_reports: int) -> None:
    """Execute the task in this process, which is the leader of a new group."""
    os.setsid()
    for stream, path in ((1, start.stdout), (2, start.stderr)):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(descriptor, stream)
    try:
        outcome = dispatch(grant, start, _Recorder(files, num_reports))
    except BaseException as error:  # anything that custom code raises, even SystemExit, is its outcome
        outcome = failure_outcome(error)
    files.add(outcome=outcome.model_dump(mode="json"))
    os._exit(0)


def _read(files: _Files) -> ShortAttempt:
    events = files.read()
    reports = [event for event in events if "step" in event]
    outcomes = [event["outcome"] for event in events if "outcome" in event]
    return ShortAttempt(
        reports=[(event["step"], event["metrics"]) for event in reports],
        seconds=[event["seconds"] for event in reports],
        checkpoints=[(event["checkpoint"], Path(event["path"])) for event in events if "checkpoint" in event],
        outcome=Outcome.model_validate(outcomes[0]) if outcomes else None,
        ignored_order=any("ignored" in event for event in events),
    )


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
