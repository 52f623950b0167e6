"""How long a worker still has: when it must have drained, and whether another trial is worth beginning."""

from __future__ import annotations

import math
import statistics
import time
from collections import deque

DRAIN_SECONDS = 60.0
"""Kept at the end to give running trials back; a tenth of the time where that is less."""

_REMEMBERED = 20


class WorkTime:
    """Begins when it is made; `seconds` None means without end. Asked by all slots of a worker."""

    def __init__(self, seconds: float | None) -> None:
        self._ends_at = math.inf if seconds is None else time.monotonic() + seconds
        self._drain_seconds = 0.0 if seconds is None else min(DRAIN_SECONDS, seconds / 10)
        self._durations: deque[float] = deque(maxlen=_REMEMBERED)

    @property
    def seconds_to_drain(self) -> float:
        """Until running trials have to be given back; infinite without an end."""
        return max(0.0, self._ends_at - self._drain_seconds - time.monotonic())

    def note(self, seconds: float) -> None:
        """A trial took so long."""
        self._durations.append(seconds)

    def allows_another(self) -> bool:
        """Whether a trial that takes as long as the median one so far would still come to its end."""
        expected = statistics.median(self._durations) if self._durations else 0.0
        return self.seconds_to_drain > expected
