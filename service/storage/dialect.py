"""Differences between SQLite and Postgres: connections, locks, the clock, JSON numbers, and retryable errors."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.pool import ConnectionPoolEntry

from service.contract.storable import MAX_INTEGER
from service.storage import tables
from service.storage.damage import read_json, read_text
from service.storage.serialization import to_json

NUM_WRITERS = 8
"""Connections for writing per replica on Postgres; SQLite has exactly one."""
NUM_READERS = 4
"""Connections for reads of claims, reports, heartbeats and maintenance."""
NUM_VIEWERS = 2
"""Connections for reads of users and dashboards, kept separate so that the other reads never wait for them."""

_SQLITE_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}
"""Error codes of a full disk: no space for a page, or for the index of the write-ahead log."""

_STUDY = sa.select(tables.study).where(tables.study.c.id == sa.bindparam("id"))
_LOCKED_STUDY = _STUDY.with_for_update(key_share=True)


def _read_integer(digits: str) -> int | float:
    value = int(digits)
    # The contract refuses larger integers, and Python writes a whole-number float with an exponent only beyond them.
    return value if abs(value) <= MAX_INTEGER else float(value)


def read_jsonb(text: str | bytes) -> Any:
    """Parse JSON as Postgres returns it from a JSONB column, and restore the numbers that were written.

    JSONB stores a number as a decimal and writes it without an exponent, so that the float 1e23 is read back as the
    integer 100000000000000000000000. This function converts such an integer back to the original float.
    """
    return read_json(text, parse_int=_read_integer)


class Dialect(Protocol):
    """The interface to a database product that the rest of storage uses."""

    name: str
    num_writers: int

    def writer(self) -> sa.Engine:
        """Return the engine whose transactions may write."""

    def reader(self, num_connections: int) -> sa.Engine:
        """Return an engine for reading, in which each transaction is one consistent snapshot."""

    def read_only_engine(self) -> sa.Engine:
        """Return a read-only engine for a process outside the service, which may be running at the same time."""

    def now(self, connection: sa.Connection) -> int:
        """Return the database's clock in microseconds since 1970 UTC."""

    def lock_study(self) -> sa.Select[Any]:
        """Return the query that reads study `id` and blocks other writers of that study until the transaction ends."""

    def is_conflict(self, error: sa.exc.DBAPIError) -> bool:
        """Return whether the transaction lost a conflict with another one and may be repeated."""

    def is_orphan(self, error: sa.exc.DBAPIError) -> bool:
        """Return whether a row refers to one that does not exist, or that another transaction has just deleted."""

    def is_unavailable(self, error: sa.exc.DBAPIError) -> bool:
        """Return whether the database could not be reached, or the connection was lost during the transaction."""

    def is_full(self, error: sa.exc.DBAPIError) -> bool:
        """Return whether the database's disk is full, so that nothing was written."""


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open an SQLite file read-only; never create one."""
    # Quote the path: some characters have a meaning in a URI.
    uri = f"file:{quote(str(path.resolve()))}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None, check_same_thread=False)
    connection.text_factory = read_text
    return connection


class Sqlite:
    """SQLite, which is safe because only one process writes, on one connection."""

    name = "sqlite"
    num_writers = 1

    def __init__(self, path: Path) -> None:
        self._path = path

    def writer(self) -> sa.Engine:
        return self._engine(1, "BEGIN IMMEDIATE")

    def reader(self, num_connections: int) -> sa.Engine:
        return self._engine(num_connections, "BEGIN", "PRAGMA query_only = ON")

    def read_only_engine(self) -> sa.Engine:
        engine = sa.create_engine(
            "sqlite://",
            creator=lambda: open_to_read(self._path),
            poolclass=sa.NullPool,
            json_serializer=to_json,
            json_deserializer=read_json,
        )

        @sa.event.listens_for(engine, "begin")
        def _begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql("BEGIN")

        return engine

    def _engine(self, num_connections: int, begin: str, *pragmas: str) -> sa.Engine:
        engine = sa.create_engine(
            f"sqlite:///{self._path}",
            poolclass=sa.pool.QueuePool,
            pool_size=num_connections,
            max_overflow=0,
            json_serializer=to_json,
            json_deserializer=read_json,
            connect_args={"timeout": 30, "check_same_thread": False},
        )

        @sa.event.listens_for(engine, "connect")
        def _connect(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
            # The driver starts transactions late and deferred; turn that off and begin explicitly, below.
            connection.isolation_level = None
            connection.text_factory = read_text
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                connection.execute(f"PRAGMA {pragma}")
            for pragma in pragmas:
                connection.execute(pragma)

        @sa.event.listens_for(engine, "begin")
        def _begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql(begin)

        return engine

    def now(self, connection: sa.Connection) -> int:
        # julianday has millisecond resolution, which is enough for every decision here.
        query = "SELECT CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000"
        return int(connection.exec_driver_sql(query).scalar_one())

    def lock_study(self) -> sa.Select[Any]:
        # BEGIN IMMEDIATE already blocks every other writer.
        return _STUDY

    def is_conflict(self, error: sa.exc.DBAPIError) -> bool:
        return "database is locked" in str(error.orig)

    def is_orphan(self, error: sa.exc.DBAPIError) -> bool:
        return getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY

    def is_unavailable(self, error: sa.exc.DBAPIError) -> bool:  # noqa: ARG002 - all dialects have this signature
        return False  # SQLite is a file and runs in this process

    def is_full(self, error: sa.exc.DBAPIError) -> bool:
        return getattr(error.orig, "sqlite_errorcode", None) in _SQLITE_FULL


class Postgres:
    """Postgres through psycopg 3 with READ COMMITTED; a lock on the study's row serializes its writers."""

    name = "postgresql"
    num_writers = NUM_WRITERS

    def __init__(self, url: sa.URL) -> None:
        self._url = url

    def writer(self) -> sa.Engine:
        return self._engine(NUM_WRITERS, "READ COMMITTED")

    def reader(self, num_connections: int) -> sa.Engine:
        engine = self._engine(num_connections, "REPEATABLE READ")
        return engine.execution_options(postgresql_readonly=True)

    def read_only_engine(self) -> sa.Engine:
        return self.reader(1)

    def _engine(self, num_connections: int, isolation: Any) -> sa.Engine:
        return sa.create_engine(
            self._url,
            pool_size=num_connections,
            max_overflow=0,
            pool_pre_ping=True,
            isolation_level=isolation,
            json_serializer=to_json,
            json_deserializer=read_jsonb,
            connect_args={"connect_timeout": 10},
        )

    def now(self, connection: sa.Connection) -> int:
        # Use clock_timestamp, not now(): the transaction may have waited for its lock.
        query = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint"
        return int(connection.exec_driver_sql(query).scalar_one())

    def lock_study(self) -> sa.Select[Any]:
        return _LOCKED_STUDY

    def is_conflict(self, error: sa.exc.DBAPIError) -> bool:
        # serialization_failure, deadlock_detected; unique_violation, where a retry sees the row that another
        # transaction inserted first; foreign_key_violation, where a retry sees that a row was deleted.
        return getattr(error.orig, "sqlstate", None) in {"40001", "40P01", "23505", "23503"}

    def is_orphan(self, error: sa.exc.DBAPIError) -> bool:
        return getattr(error.orig, "sqlstate", None) == "23503"  # foreign_key_violation

    def is_unavailable(self, error: sa.exc.DBAPIError) -> bool:
        # Connection exceptions, and shutdown, crash and start-up of the server. No SQLSTATE: no server was reached.
        state = getattr(error.orig, "sqlstate", None)
        is_disconnect = state is None or state.startswith(("08", "57P"))
        return error.connection_invalidated or (isinstance(error, sa.exc.OperationalError) and is_disconnect)

    def is_full(self, error: sa.exc.DBAPIError) -> bool:
        return getattr(error.orig, "sqlstate", None) == "53100"  # disk_full


Clock = Callable[[sa.Connection], int]
"""Reads the database's time; a simulation replaces it by its own clock."""
