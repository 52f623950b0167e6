"""Notices a training process that does not go on for too long; ends it through a callback, once."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable

from worker.agent.background import Background

PATIENCE_SECONDS = 600.0
"""A step may always take so long: loading data, compiling, a large evaluation."""

PATIENCE_STEPS = 10
"""And so many times as long as the median step."""

_REMEMBERED = 100
"""Steps that the median is taken of."""


class Watchdog(Background):
    """Watches one process for the length of a block; `step` says that it made one, `advance` that it is at one."""

    def __init__(
        self, end: Callable[[], None], patience_seconds: float = PATIENCE_SECONDS, *, waits_for_first: bool = False
    ) -> None:
        """With `waits_for_first` the first step may take as long as it likes."""
        super().__init__("watchdog")
        self._end = end
        self._patience_seconds = patience_seconds
        self._waits_for_first = waits_for_first
        self._durations: deque[float] = deque(maxlen=_REMEMBERED)
        self._stepped_at = self._advanced_at = time.monotonic()
        self.waited_seconds: float | None = None
        """For how long the process had not gone on when it was ended; none: it was not."""

    def step(self) -> None:
        """The process has made a step."""
        with self._changed:
            now = time.monotonic()
            self._durations.append(now - self._stepped_at)
            self._stepped_at = self._advanced_at = now

    def advance(self) -> None:
        """The process is in the middle of a step and goes on."""
        with self._changed:
            self._advanced_at = time.monotonic()

    def _limit_seconds(self) -> float:
        median = statistics.median(self._durations) if self._durations else 0.0
        return max(self._patience_seconds, PATIENCE_STEPS * median)

    def _work(self) -> None:
        with self._changed:
            while not self._closed:
                waited = time.monotonic() - self._advanced_at
                is_watched = self._durations or not self._waits_for_first
                if is_watched and waited >= self._limit_seconds():
                    self.waited_seconds = waited
                    break
                seconds = self._limit_seconds() - waited if is_watched else self._patience_seconds
                self._changed.wait_for(lambda: self._closed, seconds)
        if self.waited_seconds is not None:
            self._end()
