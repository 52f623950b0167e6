"""Batching of short steps: a bounded delay, in order, and far fewer reports than steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract.report import Point
from tests.worker.waiting import StoppedClock
from worker.agent.attempts import AttemptKey
from worker.agent.outbox.report_buffer import ReportBuffer

KEY = AttemptKey("t1", 1)


class Told:
    """Values that come at given instants, in reports as the outbox writes them: `(instant, [steps])`."""

    def __init__(self, gaps: list[float]) -> None:
        self.came_at: dict[int, float] = {}
        self.reports: list[tuple[float, list[int]]] = []
        self._clock = StoppedClock()
        self._buffer = ReportBuffer()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("worker.agent.outbox.report_buffer.time", self._clock)
            for step, gap in enumerate(gaps, start=1):
                self._pass(gap)
                self._buffer.add(KEY, Point(step=step, metrics={"loss": 0.5}))
                self.came_at[step] = self._clock.now
                if not self._buffer.seconds_left(KEY):
                    self._take()
            self._pass(60.0)
        assert self._buffer.attempts() == []

    def _pass(self, seconds: float) -> None:
        """Let time pass, and write what is due meanwhile."""
        until = self._clock.now + seconds
        if self._buffer.attempts() and self._clock.now + self._buffer.seconds_left(KEY) <= until:
            self._clock.now += self._buffer.seconds_left(KEY)
            self._take()
        self._clock.now = until

    def _take(self) -> None:
        self.reports.append((self._clock.now, [point.step for point in self._buffer.take(KEY)]))


@given(st.lists(st.sampled_from([0.0, 0.001, 0.05, 0.3, 1.5, 40.0]), min_size=1, max_size=60))
def test_no_values_wait_longer_than_a_second_or_a_tenth_of_what_was_trained(gaps: list[float]) -> None:
    told = Told(gaps)
    assert [step for _, steps in told.reports for step in steps] == list(told.came_at)
    for at, steps in told.reports:
        for step in steps:
            assert at - told.came_at[step] <= min(1.0, 0.1 * (at - told.came_at[1])) + 1e-9


def test_steps_longer_than_a_second_are_reported_singly_and_at_once() -> None:
    told = Told([1.1] * 100)
    assert told.reports == [(at, [step]) for step, at in told.came_at.items()]


def test_steps_of_50_ms_take_at_most_two_reports_a_second() -> None:
    assert len(Told([0.05] * 1200).reports) < 120


def test_a_report_holds_a_hundred_steps_at_most() -> None:
    assert max(len(steps) for _, steps in Told([100.0, 0.0, 100.0, *[1e-4] * 1000]).reports) == 100
