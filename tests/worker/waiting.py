"""Waits for what another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(holds: Callable[[], object], within_seconds: float = 5.0) -> bool:
    """Whether something becomes true in time."""
    deadline = time.monotonic() + within_seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


class StoppedClock:
    """The module `time` for code that reads its monotonic clock alone: none passes unless a test lets it."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now
