"""Differences between SQLite and Postgres: connections, locks, the clock, JSON numbers, errors worth a retry."""

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
"""Connections for the reads of claims, reports, heartbeats and the upkeep."""
NUM_VIEWERS = 2
"""Connections for the reads of people and dashboards, apart from the others so that these never wait for them."""

_SQLITE_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}
"""The disk is full: there is no room for a page, or for the index of the write-ahead log."""

_STUDY = sa.select(tables.study).where(tables.study.c.id == sa.bindparam("id"))
_LOCKED_STUDY = _STUDY.with_for_update(key_share=True)


def _read_integer(digits: str) -> int | float:
    value = int(digits)
    # The contract refuses larger integers, and Python writes a whole float with an exponent only beyond them.
    return value if abs(value) <= MAX_INTEGER else float(value)


def read_jsonb(text: str | bytes) -> Any:
    """Read JSON as Postgres returns it from a JSONB column, with the numbers that were written.

    JSONB keeps a number as a decimal and writes it without an exponent, so that the float 1e23 comes back as the
    integer 100000000000000000000000. Such an integer is turned into the float that it was.
    """
    return read_json(text, parse_int=_read_integer)


class Dialect(Protocol):
    """One database product, as far as the rest of storage must know."""

    name: str
    num_writers: int

    def writer(self) -> sa.Engine:
        """The engine whose transactions may write."""

    def reader(self, num_connections: int) -> sa.Engine:
        """An engine whose transactions only read, each one consistent snapshot."""

    def onlooker(self) -> sa.Engine:
        """The engine of a process that only looks on, perhaps while a service is at work: as a reader, and no more."""

    def now(self, connection: sa.Connection) -> int:
        """The database's clock, in microseconds since 1970 UTC."""

    def lock_study(self) -> sa.Select[Any]:
        """The query that reads study `id` and keeps other writers of that study away until the end."""

    def is_conflict(self, error: sa.exc.DBAPIError) -> bool:
        """Whether the transaction lost against another one and may simply be repeated."""

    def is_orphan(self, error: sa.exc.DBAPIError) -> bool:
        """Whether a row refers to one that does not exist, or that another transaction has just deleted."""

    def is_away(self, error: sa.exc.DBAPIError) -> bool:
        """Whether the database could not be reached, or went away in the middle."""

    def is_full(self, error: sa.exc.DBAPIError) -> bool:
        """Whether the disk of the database has no room left, so that nothing was written."""


def open_to_read(path: Path) -> sqlite3.Connection:
    """A connection to an SQLite file that cannot change it, nor make one where there is none."""
    # A URI reads some characters as its own.
    uri = f"file:{quote(str(path.resolve()))}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None, check_same_thread=False)
    connection.text_factory = read_text
    return connection


class Sqlite:
    """SQLite, safe because one process alone writes, on one connection."""

    name = "sqlite"
    num_writers = 1

    def __init__(self, path: Path) -> None:
        self._path = path

    def writer(self) -> sa.Engine:
        return self._engine(1, "BEGIN IMMEDIATE")

    def reader(self, num_connections: int) -> sa.Engine:
        return self._engine(num_connections, "BEGIN", "PRAGMA query_only = ON")

    def onlooker(self) -> sa.Engine:
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
            # The driver's own transaction handling begins late and deferred; ours begins as told, below.
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
        # julianday is good to the millisecond, which is as fine as any decision here.
        query = "SELECT CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000"
        return int(connection.exec_driver_sql(query).scalar_one())

    def lock_study(self) -> sa.Select[Any]:
        # BEGIN IMMEDIATE already keeps every other writer away.
        return _STUDY

    def is_conflict(self, error: sa.exc.DBAPIError) -> bool:
        return "database is locked" in str(error.orig)

    def is_orphan(self, error: sa.exc.DBAPIError) -> bool:
        return getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY

    def is_away(self, error: sa.exc.DBAPIError) -> bool:  # noqa: ARG002 - the signature of all dialects
        return False  # it is a file, and part of this process

    def is_full(self, error: sa.exc.DBAPIError) -> bool:
        return getattr(error.orig, "sqlite_errorcode", None) in _SQLITE_FULL


class Postgres:
    """Postgres through psycopg 3, READ COMMITTED; the study row is the serial point."""

    name = "postgresql"
    num_writers = NUM_WRITERS

    def __init__(self, url: sa.URL) -> None:
        self._url = url

    def writer(self) -> sa.Engine:
        return self._engine(NUM_WRITERS, "READ COMMITTED")

    def reader(self, num_connections: int) -> sa.Engine:
        engine = self._engine(num_connections, "REPEATABLE READ")
        return engine.execution_options(postgresql_readonly=True)

    def onlooker(self) -> sa.Engine:
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
        # clock_timestamp, not now(): the transaction may have waited for its lock.
        query = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint"
        return int(connection.exec_driver_sql(query).scalar_one())

    def lock_study(self) -> sa.Select[Any]:
        return _LOCKED_STUDY

    def is_conflict(self, error: sa.exc.DBAPIError) -> bool:
        # serialization_failure, deadlock_detected; unique_violation, after which the repetition sees the row that
        # another transaction inserted first; foreign_key_violation, after which it sees that a row was deleted.
        return getattr(error.orig, "sqlstate", None) in {"40001", "40P01", "23505", "23503"}

    def is_orphan(self, error: sa.exc.DBAPIError) -> bool:
        return getattr(error.orig, "sqlstate", None) == "23503"  # foreign_key_violation

    def is_away(self, error: sa.exc.DBAPIError) -> bool:
        # Connection exceptions, and shutdown, crash and start-up of the server; no state where no server was reached.
        state = getattr(error.orig, "sqlstate", None)
        is_told = state is None or state.startswith(("08", "57P"))
        return error.connection_invalidated or (isinstance(error, sa.exc.OperationalError) and is_told)

    def is_full(self, error: sa.exc.DBAPIError) -> bool:
        return getattr(error.orig, "sqlstate", None) == "53100"  # disk_full


Clock = Callable[[sa.Connection], int]
"""Asks the database for the time; a simulation puts its own in."""
