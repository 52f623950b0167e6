"""Damages rows of a service's database, as a broken disk does."""

from __future__ import annotations

import contextlib
import sqlite3

from tests.support.service import Service


def spoil(service: Service, statement: str, *values: object) -> None:
    """Change one row while the service is stopped, so that it has nothing of the row in memory afterwards."""
    service.stop()
    with contextlib.closing(sqlite3.connect(service.database)) as raw, raw:
        assert raw.execute(statement, values).rowcount == 1
    service.start()
