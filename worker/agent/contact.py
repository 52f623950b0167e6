"""Whether the service answers: told to the log once per change and once a minute in between; and how long to wait."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterator

log = logging.getLogger(__name__)

_REMIND_SECONDS = 60.0


class Contact:
    """Shared by all threads that call the service, so that an outage is one line and not one per thread."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._told_at: float | None = None

    def made(self) -> None:
        """The service answered."""
        with self._lock:
            if self._told_at is not None:
                log.info("the service at %s answers again", self._server)
            self._told_at = None

    def lost(self) -> None:
        """The service could not be reached, or was not able to answer."""
        now = time.monotonic()
        with self._lock:
            if self._told_at is None or now - self._told_at >= _REMIND_SECONDS:
                log.warning("waiting for the service at %s; what training reports is kept meanwhile", self._server)
                self._told_at = now


def delays(first: float = 0.5, longest: float = 15.0) -> Iterator[float]:
    """Seconds to wait before each further try: doubling up to `longest`, jittered so that a fleet spreads out."""
    jitter = random.Random()  # noqa: S311 - nothing secret; its own stream, so nobody's seed is touched
    wait = first
    while True:
        yield wait * jitter.uniform(0.5, 1.0)
        wait = min(wait * 2, longest)
