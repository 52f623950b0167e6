"""Values that wait a moment for those of the next steps, to be one report with them; knows no file and no network.

A report costs the agent much the same whether it tells one step or a hundred. So what short steps give is told
together: values wait, and a verdict on them is late, by a tenth of the time that their attempt has been reporting, and
by a second at most. An attempt whose steps take longer than that never waits.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from service.contract.report import Point
from worker.agent.held import AttemptKey

_SHARE = 0.1
_LONGEST_SECONDS = 1.0
_MOST_POINTS = 100
_MOST_BYTES = 512 * 1024
"""Of JSON in one report, about; the service takes no body above 1 MiB."""


@dataclass
class _Attempt:
    """`due_at` is the monotonic instant from which its values wait no more."""

    began_at: float
    due_at: float
    points: list[Point] = field(default_factory=list)


class Gathered:
    """The values of each attempt that are in no report yet; whoever uses it sees to it that only one thread does."""

    def __init__(self) -> None:
        self._attempts: dict[AttemptKey, _Attempt] = {}

    def add(self, key: AttemptKey, point: Point) -> None:
        """Let one step's values wait, unless the attempt's are due."""
        if key not in self._attempts:
            now = time.monotonic()
            self._attempts[key] = _Attempt(began_at=now, due_at=now)
        self._attempts[key].points.append(point)

    def num(self, key: AttemptKey) -> int:
        """How many steps' values wait for the attempt's next report."""
        return len(self._attempts[key].points) if key in self._attempts else 0

    def seconds_left(self, key: AttemptKey) -> float:
        """How long the attempt's values may still wait; 0: their report is due."""
        attempt = self._attempts[key]
        return 0.0 if len(attempt.points) >= _MOST_POINTS else max(0.0, attempt.due_at - time.monotonic())

    def waiting(self) -> list[AttemptKey]:
        """The attempts of which values wait."""
        return [key for key, attempt in self._attempts.items() if attempt.points]

    def take(self, key: AttemptKey) -> list[Point]:
        """The attempt's values, in order, for its next report; those that come now wait for the one after it."""
        attempt = self._attempts.get(key)
        if attempt is None:
            return []
        now = time.monotonic()
        attempt.due_at = now + min(_LONGEST_SECONDS, _SHARE * (now - attempt.began_at))
        points, attempt.points = attempt.points, []
        return points

    def forget(self, key: AttemptKey) -> None:
        """The attempt reports no more."""
        self._attempts.pop(key, None)


def split(points: list[Point]) -> Iterator[list[Point]]:
    """Split points, in order, into reports that are small enough for the service, as far as whole points allow."""
    batch: list[Point] = []
    num_bytes = 0
    for point in points:
        size = sum(len(name.encode()) + 32 for name in point.metrics)
        if batch and num_bytes + size > _MOST_BYTES:
            yield batch
            batch, num_bytes = [], 0
        batch.append(point)
        num_bytes += size
    if batch:
        yield batch
