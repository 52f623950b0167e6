"""What the service says of itself: log lines on standard error."""

from __future__ import annotations

import logging


def configure(level: str) -> None:
    """Send this process's log lines to standard error, one line each, with time and level."""
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    # These tell of every request and step; only what goes wrong there is news.
    for noisy in ("httpx", "alembic", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
