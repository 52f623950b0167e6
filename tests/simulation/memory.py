"""One in-memory SQLite database that all simulated replicas share, with the scenario's clock and faults."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import cache
from typing import Any

import sqlalchemy as sa

from service.storage import migrate
from service.storage.dialect import Sqlite

Hook = Callable[[], None]


class Memory:
    """The database, emptied for every world: building engines and schemas anew would take longer than the rest."""

    def __init__(self) -> None:
        self.raw = _connect()
        self.engine = sa.create_engine("sqlite://", creator=lambda: self.raw, poolclass=sa.StaticPool)
        self.on_statement: Hook = _nothing
        self.on_commit: Hook = _nothing
        sa.event.listen(self.engine, "begin", lambda _: self.raw.execute("BEGIN"))
        sa.event.listen(self.engine, "commit", lambda _: self._commit())
        sa.event.listen(self.engine, "before_cursor_execute", lambda *_: self.on_statement())
        migrate.upgrade(self.engine)
        self._empty = self.raw.serialize()
        self.clear()

    def clear(self) -> None:
        """Begin again with an empty database and without faults."""
        self.on_statement = self.on_commit = _nothing
        self.restore(self._empty)

    def back_up(self) -> bytes:
        """The database as of now."""
        return self.raw.serialize()

    def restore(self, backup: bytes) -> None:
        """Go back to a backup."""
        # On a new connection: where a statement is lost, the one whose rows were being read stays half read until the
        # garbage is collected, and deserialize frees what it still reads. A closed connection keeps that until then.
        self.raw.close()
        self.engine.dispose()
        self.raw = _connect()
        self.raw.deserialize(backup)
        self.raw.execute("PRAGMA foreign_keys = ON")

    def _commit(self) -> None:
        try:
            self.on_commit()
        except sa.exc.OperationalError:
            self.raw.rollback()
            raise

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Ask the database beside all replicas, as only the world can."""
        return self.raw.execute(query, parameters).fetchall()


def _connect() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)


def _nothing() -> None:
    pass


@cache
def memory() -> Memory:
    """The process's only one."""
    return Memory()


class SimulatedSqlite(Sqlite):
    """The dialect of a replica: everybody's connection, and a database whose clock is the world's."""

    def __init__(self, engine: sa.Engine, clock: Callable[[], int]) -> None:
        self._shared = engine
        self._world_clock = clock

    def writer(self) -> sa.Engine:
        return self._shared

    def reader(self, num_connections: int) -> sa.Engine:
        return self._shared

    def now(self, connection: sa.Connection) -> int:
        return self._world_clock()


def lost(statement: str) -> sa.exc.OperationalError:
    """What the driver says when the server goes away."""
    return sa.exc.OperationalError(statement, {}, sqlite3.OperationalError("server closed the connection"))


def locked(statement: str) -> sa.exc.OperationalError:
    """What the driver says when a transaction loses against another."""
    return sa.exc.OperationalError(statement, {}, sqlite3.OperationalError("database is locked"))
