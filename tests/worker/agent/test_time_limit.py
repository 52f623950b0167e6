"""A worker with a time limit starts no trial that it cannot finish, and gives running ones back in time."""

from __future__ import annotations

import math
import time

import pytest

from worker.agent.time_limit import DRAIN_SECONDS, TimeLimit


def test_without_an_end_there_is_always_time() -> None:
    endless = TimeLimit(None)
    endless.record_duration(1e9)
    assert endless.allows_another()
    assert math.isinf(endless.seconds_to_drain)


def test_a_part_of_the_time_is_kept_for_draining() -> None:
    assert TimeLimit(100).seconds_to_drain == pytest.approx(90, abs=1)
    assert TimeLimit(36_000).seconds_to_drain == pytest.approx(36_000 - DRAIN_SECONDS, abs=1)


def test_a_trial_as_long_as_the_median_so_far_must_fit() -> None:
    hour = TimeLimit(3600)
    assert hour.allows_another()
    for seconds in (10, 4000, 5000):
        hour.record_duration(seconds)
    assert not hour.allows_another()
    for _ in range(3):
        hour.record_duration(10)
    assert hour.allows_another()


def test_nothing_begins_once_it_drains() -> None:
    short = TimeLimit(0.02)
    time.sleep(0.03)
    assert short.seconds_to_drain == 0
    assert not short.allows_another()
