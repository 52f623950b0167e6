"""The SQLite file of the outbox: its tables and transactions."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS claim (slot TEXT PRIMARY KEY, request_id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS attempt (
    trial TEXT NOT NULL, attempt INTEGER NOT NULL, nonce TEXT NOT NULL,
    num_reports INTEGER NOT NULL DEFAULT 0, ended INTEGER NOT NULL DEFAULT 0, refusal TEXT,
    PRIMARY KEY (trial, attempt)
);
CREATE TABLE IF NOT EXISTS entry (
    id INTEGER PRIMARY KEY AUTOINCREMENT, trial TEXT NOT NULL, attempt INTEGER NOT NULL,
    kind TEXT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS entry_of_attempt ON entry (trial, attempt, id);
CREATE TABLE IF NOT EXISTS output (
    trial TEXT NOT NULL, attempt INTEGER NOT NULL, nonce TEXT NOT NULL, PRIMARY KEY (trial, attempt)
);
CREATE TABLE IF NOT EXISTS prediction (
    trial TEXT NOT NULL, attempt INTEGER NOT NULL, nonce TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
    PRIMARY KEY (trial, attempt)
);
CREATE TABLE IF NOT EXISTS dead_letter (
    id INTEGER PRIMARY KEY AUTOINCREMENT, trial TEXT NOT NULL, attempt INTEGER NOT NULL,
    kind TEXT NOT NULL, body TEXT NOT NULL, reason TEXT NOT NULL
);
"""


class OutboxFile:
    """One connection that any thread may use, one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # With WAL, synchronous=NORMAL survives the death of any process. A host that loses power also loses its
        # training processes and their attempts, so that waiting for the disk at every step would gain nothing.
        self._database.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; {_SCHEMA}")

    def close(self) -> None:
        with self._lock:
            self._database.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Run one atomic transaction at a time; an inner transaction is part of the outer one."""
        with self._lock:
            if self._database.in_transaction:
                yield self._database
                return
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")
