"""Batches the metrics of short steps into one report; uses neither files nor the network.

A report costs the agent about the same whether it contains one step or a hundred, so the values of short steps are
batched. Values, and so the verdict on them, are delayed by at most a tenth of the time for which the attempt has been
reporting, and by at most one second. Values of an attempt whose steps take longer than that are not delayed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from service.contract.report import Point
from worker.agent.attempts import AttemptKey

_MAX_DELAY_SHARE = 0.1
_MAX_DELAY_SECONDS = 1.0
_MAX_POINTS = 100
_MAX_BYTES = 512 * 1024
"""Approximate limit for the JSON of one report; the service accepts no body above 1 MiB."""


@dataclass
class _Attempt:
    """The buffered values of one attempt; from the monotonic instant `due_at` on, they are due."""

    began_at: float
    due_at: float
    points: list[Point] = field(default_factory=list)


class ReportBuffer:
    """The buffered values of each attempt that are in no report yet; not thread-safe, so callers must hold a lock."""

    def __init__(self) -> None:
        self._attempts: dict[AttemptKey, _Attempt] = {}

    def add(self, key: AttemptKey, point: Point) -> None:
        """Add one step's values to the attempt's next report."""
        if key not in self._attempts:
            now = time.monotonic()
            self._attempts[key] = _Attempt(began_at=now, due_at=now)
        self._attempts[key].points.append(point)

    def num_points(self, key: AttemptKey) -> int:
        """Return how many steps are buffered for the attempt's next report."""
        return len(self._attempts[key].points) if key in self._attempts else 0

    def seconds_left(self, key: AttemptKey) -> float:
        """Return for how many seconds the attempt's values may stay buffered; 0 if its report is due."""
        attempt = self._attempts[key]
        return 0.0 if len(attempt.points) >= _MAX_POINTS else max(0.0, attempt.due_at - time.monotonic())

    def attempts(self) -> list[AttemptKey]:
        """Return the attempts with buffered values."""
        return [key for key, attempt in self._attempts.items() if attempt.points]

    def take(self, key: AttemptKey) -> list[Point]:
        """Return and clear the attempt's buffered values, in order; set when the next report is due."""
        attempt = self._attempts.get(key)
        if attempt is None:
            return []
        now = time.monotonic()
        attempt.due_at = now + min(_MAX_DELAY_SECONDS, _MAX_DELAY_SHARE * (now - attempt.began_at))
        points, attempt.points = attempt.points, []
        return points

    def forget(self, key: AttemptKey) -> None:
        """Remove the attempt and its buffered values."""
        self._attempts.pop(key, None)


def split(points: list[Point]) -> Iterator[list[Point]]:
    """Split points, in order, into reports small enough for the service; a single point is never split."""
    batch: list[Point] = []
    num_bytes = 0
    for point in points:
        size = sum(len(name.encode()) + 32 for name in point.metrics)
        if batch and num_bytes + size > _MAX_BYTES:
            yield batch
            batch, num_bytes = [], 0
        batch.append(point)
        num_bytes += size
    if batch:
        yield batch
