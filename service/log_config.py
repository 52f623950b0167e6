"""Logging configuration: the service's log lines on standard error."""

from __future__ import annotations

import logging


def configure(level: str) -> None:
    """Send this process's log lines to standard error, one line each, with time and level."""
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    # These log every request and step, so only their warnings are of interest.
    for noisy in ("httpx", "alembic", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
