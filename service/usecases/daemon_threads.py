"""Executor with daemon threads: a call that never returns blocks neither the default pool nor the exit."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

_IDLE_SECONDS = 10.0
"""A thread without work ends after this time."""


class DaemonThreads(Executor):
    """Runs calls on up to `max_threads` daemon threads, which the interpreter does not join at exit.

    The interpreter joins the threads of the standard library's pool at exit, so one hung call would keep the process
    alive.
    """

    def __init__(self, max_threads: int, name: str) -> None:
        self._max_threads = max_threads
        self._name = name
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._num_threads = 0
        self._num_idle = 0

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run a call as soon as a thread is free."""
        future: Future[T] = Future()
        with self._changed:
            self._waiting.append((future, partial(fn, *args, **kwargs)))
            if self._num_idle >= len(self._waiting):
                self._changed.notify()
            elif self._num_threads < self._max_threads:
                self._num_threads += 1
                threading.Thread(target=self._work, name=self._name, daemon=True).start()
        return future

    def _work(self) -> None:
        while (task := self._next()) is not None:
            future, call = task
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = call()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
            del task, future, call  # so that an idle thread keeps nothing of its last call alive

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        """Wait for the next call; return None if there was none for `_IDLE_SECONDS`."""
        with self._changed:
            self._num_idle += 1
            is_needed = self._changed.wait_for(lambda: self._waiting, timeout=_IDLE_SECONDS)
            self._num_idle -= 1
            if is_needed:
                return self._waiting.popleft()
            self._num_threads -= 1
            return None
