"""Tracks connectivity to the service and logs each change once, with a reminder once a minute; also backoff delays."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterator

log = logging.getLogger(__name__)

_REMIND_SECONDS = 60.0


class ServiceStatus:
    """Connectivity to the service, shared by all threads so that an outage is logged once and not once per thread."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._logged_at: float | None = None

    def up(self) -> None:
        """Record that the service answered."""
        with self._lock:
            if self._logged_at is not None:
                log.info("the service at %s answers again", self._server)
            self._logged_at = None

    def down(self) -> None:
        """Record that the service could not be reached or could not answer."""
        now = time.monotonic()
        with self._lock:
            if self._logged_at is None or now - self._logged_at >= _REMIND_SECONDS:
                log.warning("the service at %s does not answer; reports wait on disk and are sent later", self._server)
                self._logged_at = now


def backoff(first: float = 0.5, longest: float = 15.0) -> Iterator[float]:
    """Yield the seconds to wait before each retry: exponential backoff from `first` up to `longest`.

    The delays are jittered, so that the retries of many workers spread out.
    """
    jitter = random.Random()  # noqa: S311 - not for security; a separate stream leaves the global seed untouched
    seconds = first
    while True:
        yield seconds * jitter.uniform(0.5, 1.0)
        seconds = min(seconds * 2, longest)
