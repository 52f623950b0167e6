"""The watchdog ends a process once that makes no progress for too long, and no slow one that does."""

from __future__ import annotations

import threading
import time

from worker.agent.slots.watchdog import PATIENCE_STEPS, Watchdog


def test_silence_ends_the_process_once() -> None:
    ended = threading.Semaphore(0)
    with Watchdog(ended.release, 0.05) as watchdog:
        assert ended.acquire(timeout=5)
        assert not ended.acquire(timeout=0.2)
    assert watchdog.waited_seconds is not None
    assert 0.05 <= watchdog.waited_seconds < 5


def test_steps_keep_it_alive() -> None:
    ended = threading.Event()
    with Watchdog(ended.set, 0.5) as watchdog:
        for _ in range(10):
            time.sleep(0.1)
            watchdog.step()
    assert not ended.is_set()
    assert watchdog.waited_seconds is None


def test_progress_within_a_step_counts_as_alive() -> None:
    ended = threading.Event()
    with Watchdog(ended.set, 0.5) as watchdog:
        for _ in range(8):
            time.sleep(0.1)
            watchdog.advance()
        assert not ended.is_set()
        assert ended.wait(10)


def test_slow_steps_give_as_much_patience_as_ten_of_them_take() -> None:
    ended = threading.Event()
    with Watchdog(ended.set, 0.3) as watchdog:
        for _ in range(3):
            time.sleep(0.1)
            watchdog.step()
        began = time.monotonic()
        assert ended.wait(10)
        assert time.monotonic() - began >= 0.09 * PATIENCE_STEPS


def test_the_first_step_may_take_as_long_as_it_likes_where_that_was_said() -> None:
    ended = threading.Event()
    with Watchdog(ended.set, 0.05, waits_for_first=True) as watchdog:
        time.sleep(0.3)
        assert not ended.is_set()
        for _ in range(20):
            watchdog.step()
        assert ended.wait(10)


def test_closing_it_waits_for_nothing() -> None:
    began = time.monotonic()
    with Watchdog(lambda: None, 600):
        pass
    assert time.monotonic() - began < 1
