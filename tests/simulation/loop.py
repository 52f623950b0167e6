"""An event loop whose time is simulated and whose executors are inline: what it runs repeats from a seed.

Nothing waits for real: when every task sleeps, time jumps to the next one that wakes. Work handed to an executor (a
transaction, a read, a sampler) runs in one piece at a drawn instant, so that tasks interleave between pieces only.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from typing import Any


class _NoFiles(selectors.SelectSelector):
    """Waits for nothing but time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("every task waits for another one: nothing will ever happen again")
        self.now += timeout
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Runs tasks in simulated time; `latency` draws how long work waits for its turn and how long its answer takes."""

    def __init__(self, latency: Callable[[], float], run: Callable[[Any, Callable[[], Any]], Any]) -> None:
        self._timer = _NoFiles()
        super().__init__(self._timer)
        self._latency = latency
        self._run = run
        # A crash leaves futures behind that nobody asks any more; that is no news.
        self.set_exception_handler(lambda *_: None)

    def time(self) -> float:
        return self._timer.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Do the work inline, after a while; `run(executor, work)` is where the world makes it fail."""
        done: asyncio.Future[Any] = self.create_future()

        def execute() -> None:
            try:
                result = self._run(executor, lambda: func(*args))
            except Exception as error:
                self.call_later(self._latency(), _settle, done, None, error)
            else:
                self.call_later(self._latency(), _settle, done, result, None)

        self.call_later(self._latency(), execute)
        return done


def _settle(done: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if done.done():
        return
    if error is not None:
        done.set_exception(error)
    else:
        done.set_result(result)
