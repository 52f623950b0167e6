"""Follows a study, or the output of a trial, until it is finished, across restarts of the service."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain

from rich.console import Console
from rich.live import Live

from service.cli.render import study_pages
from service.client.endpoints import Endpoints
from service.client.errors import PermanentFailure, ServiceFailure, ServiceUnreachable
from service.contract.log import LogView, Stream
from service.contract.study import PauseCause, StudyState, StudyView
from service.contract.trial import TrialDetail, TrialState, TrialView
from service.contract.worker import HostExclusion

Away = ServiceUnreachable | ServiceFailure
POLL_SECONDS = 1.0
LOG_GRACE_SECONDS = 5.0
"""Time to wait for output after an attempt ended, because workers upload it some seconds later."""
MAX_RUNNING_SHOWN = 8


def follow(endpoints: Endpoints, study: str) -> Iterator[StudyView | Away]:
    """Yield the study now and after each change, until it is finished or paused for its failures.

    Yields an error while the service is unavailable. The service's event stream announces changes. If no event arrives
    (because of a proxy or a restart), the loop polls instead.
    """
    revision = 0
    while True:
        try:
            for _ in chain([None], endpoints.stream(study, after=revision)):
                view = endpoints.study(study)
                if view.revision > revision:
                    revision = view.revision
                    yield view
                if view.state in (StudyState.COMPLETED, StudyState.STOPPED):
                    return
                if view.pause_cause is PauseCause.FAILURES:
                    return
        except (ServiceUnreachable, ServiceFailure) as error:
            if revision == 0:
                raise
            yield error
        time.sleep(POLL_SECONDS)


def watch_json(endpoints: Endpoints, study: str) -> None:
    """Write the study to standard output after each change, one JSON document per line."""
    for view in follow(endpoints, study):
        if isinstance(view, StudyView):
            sys.stdout.write(view.model_dump_json() + "\n")
            sys.stdout.flush()


def watch(endpoints: Endpoints, study: str, console: Console) -> None:
    """Show the study until it is finished: as a live view in a terminal, otherwise a line per finished trial."""
    if console.is_terminal:
        _redraw(endpoints, study, console)
    else:
        _lines(endpoints, study, console)


def _redraw(endpoints: Endpoints, study: str, console: Console) -> None:
    running = _Running(endpoints, study)
    shown: StudyView | None = None
    with Live(console=console, refresh_per_second=4) as live:
        for view in follow(endpoints, study):
            notice = ""
            if isinstance(view, StudyView):
                shown = view
                notice = running.refresh()
            else:
                notice = f"{view}; waiting for it"
            if shown is not None:
                live.update(study_pages.live_page(shown, running.trials, notice))


def _lines(endpoints: Endpoints, study: str, console: Console) -> None:
    num_finished, is_paused, is_held_back = -1, False, False
    excluded: list[HostExclusion] = []
    for view in follow(endpoints, study):
        if not isinstance(view, StudyView):
            console.print(f"{view}; waiting for it", soft_wrap=True)
            continue
        if study_pages.num_finished(view) != num_finished:
            num_finished = study_pages.num_finished(view)
            console.print(
                f"{study}: {study_pages.progress(view)} finished, best {study_pages.best(view)}", soft_wrap=True
            )
        for exclusion in view.exclusions:
            if exclusion not in excluded:
                console.print(f"{study}: {study_pages.excluded_host(exclusion)}", soft_wrap=True)
        excluded = view.exclusions
        was_held_back, is_held_back = is_held_back, study_pages.waits_for_preflight(view)
        if is_held_back and not was_held_back:
            console.print(f"{study} waits for its preflight", soft_wrap=True)
        was_paused, is_paused = is_paused, view.state is StudyState.PAUSED
        if is_paused and not was_paused and view.pause_cause is not PauseCause.FAILURES:
            console.print(f"{study} is paused: {view.state_reason}; waiting for it", soft_wrap=True)


def read_log(
    endpoints: Endpoints, study: str, trial: int | str, attempt: int | None, stream: Stream
) -> Iterator[LogView]:
    """Yield what the attempt has printed so far."""
    yield endpoints.log(study, trial, attempt=attempt, stream=stream)


def follow_log(
    endpoints: Endpoints, study: str, trial: int | str, attempt: int | None, stream: Stream
) -> Iterator[LogView]:
    """Yield an attempt's output as it arrives, until it has ended and LOG_GRACE_SECONDS pass without more output.

    Continues across restarts of the service after its first answer.
    """
    page = endpoints.log(study, trial, attempt=attempt, stream=stream)
    yield page
    last_line_at = time.monotonic()
    while not page.ended or time.monotonic() - last_line_at < LOG_GRACE_SECONDS:
        time.sleep(POLL_SECONDS)
        with suppress(ServiceUnreachable, ServiceFailure):
            before, page = page, endpoints.log(study, trial, attempt=page.attempt, stream=stream, after=page.next)
            if page.text or not before.ended:
                last_line_at = time.monotonic()
            if page.text:
                yield page


class _Running:
    """The running trials of a study, updated from the changes since the last refresh."""

    def __init__(self, endpoints: Endpoints, study: str) -> None:
        self._endpoints = endpoints
        self._study = study
        self._revision = 0
        self._running: dict[str, TrialView] = {}
        self.trials: list[TrialDetail] = []

    def refresh(self) -> str:
        """Read the changes. Return the service's error, or how many more trials are running, or nothing."""
        try:
            for trial in self._changed():
                if trial.state is TrialState.RUNNING:
                    self._running[trial.id] = trial
                else:
                    self._running.pop(trial.id, None)
            numbers = sorted(trial.number for trial in self._running.values() if trial.number is not None)
            self.trials = [self._endpoints.trial(self._study, number) for number in numbers[:MAX_RUNNING_SHOWN]]
        except (ServiceUnreachable, ServiceFailure, PermanentFailure) as error:
            return str(error)
        hidden = len(self._running) - len(self.trials)
        return f"and {hidden} more running" if hidden else ""

    def _changed(self) -> Iterator[TrialView]:
        while True:
            page = self._endpoints.trials(self._study, since=self._revision)
            yield from page.trials
            if page.revision == self._revision:
                return
            self._revision = page.revision
