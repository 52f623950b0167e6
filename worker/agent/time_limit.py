"""The worker's time limit: when to give running trials back, and whether another trial would still finish."""

from __future__ import annotations

import math
import statistics
import time
from collections import deque

DRAIN_SECONDS = 60.0
"""Time reserved at the end to give running trials back; at most a tenth of the whole time."""

_NUM_DURATIONS = 20


class TimeLimit:
    """A time limit that starts with the object and is shared by all slots of a worker; `seconds` None sets none."""

    def __init__(self, seconds: float | None) -> None:
        self._ends_at = math.inf if seconds is None else time.monotonic() + seconds
        self._drain_seconds = 0.0 if seconds is None else min(DRAIN_SECONDS, seconds / 10)
        self._durations: deque[float] = deque(maxlen=_NUM_DURATIONS)

    @property
    def seconds_to_drain(self) -> float:
        """Seconds until the running trials must be given back; infinite without a limit."""
        return max(0.0, self._ends_at - self._drain_seconds - time.monotonic())

    def record_duration(self, seconds: float) -> None:
        """Record the duration of a trial, in seconds."""
        self._durations.append(seconds)

    def allows_another(self) -> bool:
        """Return whether a trial of the median duration so far would still finish."""
        expected = statistics.median(self._durations) if self._durations else 0.0
        return self.seconds_to_drain > expected
