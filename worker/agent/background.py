"""Threads of the agent that live as long as a `with` block, woken when there is something new, closed without ado."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from service.client.errors import ServiceFailure, ServiceUnreachable, Unauthorized
from worker.agent.contact import Contact, delays

_CLOSE_SECONDS = 2.0

AWAY = (ServiceUnreachable, ServiceFailure, Unauthorized)
"""Answers after which the same call is tried again; a token that is being changed must not cost results."""


class Background(ABC):
    """One thread; whatever others may wake it for is guarded by `_changed`."""

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
        # A request that hangs is left behind: nothing here is lost with it, and the next agent repeats it.
        self._thread.join(_CLOSE_SECONDS)

    def wake(self) -> None:
        """Look again: something may be due now."""
        with self._changed:
            self._num_wakes += 1
            self._changed.notify_all()

    def _sleep(self, seconds: float | None, num_seen: int | None = None) -> None:
        """Wait so long (None: without end), less if closed or, given how many wakes were seen, woken since."""
        with self._changed:
            self._changed.notify_all()  # whoever waits for progress looks now
            self._changed.wait_for(lambda: self._closed or num_seen not in (None, self._num_wakes), seconds)

    @abstractmethod
    def _work(self) -> None:
        """Do what the thread is for, until `_closed`."""


class Courier(Background):
    """Tells the service something in rounds; while the service is away, ever more rarely."""

    def __init__(self, name: str, contact: Contact) -> None:
        super().__init__(name)
        self._contact = contact

    def _work(self) -> None:
        outage = delays()
        while not self._closed:
            num_seen = self._num_wakes
            try:
                seconds = self._tell()
            except AWAY:
                self._contact.lost()
                self._sleep(next(outage))
            else:
                outage = delays()
                self._sleep(seconds, num_seen)

    @abstractmethod
    def _tell(self) -> float | None:
        """Tell what is due; when to look again without being woken, in seconds (None: never)."""
