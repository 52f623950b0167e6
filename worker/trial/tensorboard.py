"""Writes TensorBoard event files of an attempt of any kind of task: its reports, parameters and final metrics."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from service.contract.attempt import Outcome
from service.contract.claim import Grant
from worker.protocol import Start
from worker.training.callbacks.event_files import EventFiles
from worker.trial.channel import Channel

_logger = logging.getLogger(__name__)


def run_with_event_files(
    grant: Grant, start: Start, channel: Channel, execute: Callable[[Grant, Start, Channel], Outcome]
) -> Outcome:
    """Execute the grant; if the worker writes event files, write the attempt's reports, parameters and final metrics.

    An attempt never fails because its event files cannot be written.
    """
    if start.tensorboard is None:
        return execute(grant, start, channel)
    last_step = 0
    files = _SafeEventFiles(event_folder(Path(start.tensorboard), grant))

    def report(step: int, metrics: Mapping[str, float]) -> None:
        nonlocal last_step
        last_step = step
        files.write(lambda opened: opened.scalars(step, metrics))

    try:
        files.write(lambda opened: opened.parameters(grant.parameters))
        channel.on_report = report
        outcome = execute(grant, start, channel)
        final = {name: value for name, value in outcome.metrics.items() if isinstance(value, float)}
        files.write(lambda opened: opened.final(last_step, final))
        return outcome
    finally:
        files.write(lambda opened: opened.close())


def event_folder(directory: Path, grant: Grant) -> Path:
    """Return the folder of an attempt's event files; TensorBoard uses this path as the attempt's name."""
    trial = f"{grant.number:04}" if grant.number is not None else grant.trial
    return directory / grant.study_name / f"trial-{trial}" / f"attempt-{grant.attempt}"


class _SafeEventFiles:
    """Event files that stop with a warning at the first error of their disk."""

    def __init__(self, folder: Path) -> None:
        self._files: EventFiles | None = None
        with self._stop_on_error():
            # Older event files there can only be of an earlier study of this name, so they are purged from step 0 on.
            self._files = EventFiles(folder, 0, "--tensorboard")

    def write(self, write: Callable[[EventFiles], None]) -> None:
        if self._files is not None:
            with self._stop_on_error():
                write(self._files)

    @contextmanager
    def _stop_on_error(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._files = None
            _logger.warning("no more TensorBoard events of this attempt are written: %s", error)
