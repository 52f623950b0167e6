"""Detects a training process that makes no progress for too long, and calls back once to end it."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable

from worker.agent.agent_settings import PATIENCE_SECONDS
from worker.agent.threads import BackgroundThread

PATIENCE_STEPS = 10
"""A step may also take this many times as long as the median step."""

_NUM_DURATIONS = 100
"""The number of last steps that the median is taken over."""


class Watchdog(BackgroundThread):
    """Supervises one process inside a `with` block; `step` records a completed step, `advance` progress within one."""

    def __init__(
        self, end: Callable[[], None], patience_seconds: float = PATIENCE_SECONDS, *, waits_for_first: bool = False
    ) -> None:
        """Set up the thread.

        Args:
            end: Called once, from this thread, when the process makes no progress.
            patience_seconds: How long a step may always take.
            waits_for_first: Whether the first step may take any time.
        """
        super().__init__("watchdog")
        self._end = end
        self._patience_seconds = patience_seconds
        self._waits_for_first = waits_for_first
        self._durations: deque[float] = deque(maxlen=_NUM_DURATIONS)
        self._stepped_at = self._advanced_at = time.monotonic()
        self.waited_seconds: float | None = None
        """How long the process had made no progress when it was ended; None if it was not ended."""

    def step(self) -> None:
        """Record that the process has completed a step."""
        with self._changed:
            now = time.monotonic()
            self._durations.append(now - self._stepped_at)
            self._stepped_at = self._advanced_at = now

    def advance(self) -> None:
        """Record that the process makes progress within a step."""
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
