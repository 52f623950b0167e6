"""Background threads of the agent: they run inside a `with` block, can be woken, and never delay shutdown for long."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from service.client.errors import ServiceFailure, ServiceUnreachable, Unauthorized
from worker.agent.connectivity import ServiceStatus, backoff

_CLOSE_SECONDS = 2.0

RETRYABLE = (ServiceUnreachable, ServiceFailure, Unauthorized)
"""Errors after which the same call is retried. Unauthorized is one, so that a token change does not cost results."""


class BackgroundThread(ABC):
    """One thread; `_changed` guards everything that other threads may wake it for."""

    def __init__(self, name: str) -> None:
        self._changed = threading.Condition()
        self._num_wakes = 0
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        # Don't wait for a request that hangs: it loses nothing, and the next agent repeats it.
        self._thread.join(_CLOSE_SECONDS)

    def wake(self) -> None:
        """Wake the thread: something may be due now."""
        with self._changed:
            self._num_wakes += 1
            self._changed.notify_all()

    def _sleep(self, seconds: float | None, num_seen: int | None = None) -> None:
        """Sleep for at most `seconds` (None: without limit), or until the thread is closed.

        With `num_seen`, the number of wakes seen so far, the sleep also ends if a wake came since.
        """
        with self._changed:
            self._changed.notify_all()  # callers that wait for progress check their condition
            self._changed.wait_for(lambda: self._closed or num_seen not in (None, self._num_wakes), seconds)

    @abstractmethod
    def _work(self) -> None:
        """Do the thread's work until `_closed`."""


class SenderThread(BackgroundThread):
    """Sends messages to the service in rounds, with exponential backoff while the service cannot be reached."""

    def __init__(self, name: str, service_status: ServiceStatus) -> None:
        super().__init__(name)
        self._service_status = service_status

    def _work(self) -> None:
        waits = backoff()
        while not self._closed:
            num_seen = self._num_wakes
            try:
                seconds = self._send_next()
            except RETRYABLE:
                self._service_status.down()
                self._sleep(next(waits))
            else:
                waits = backoff()
                self._sleep(seconds, num_seen)

    @abstractmethod
    def _send_next(self) -> float | None:
        """Send what is due; return the seconds until the next round, or None to wait until woken."""
