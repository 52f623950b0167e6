"""Two transactions of two replicas on one Postgres, interleaved in an order that a test chooses."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from service.domain.errors import DomainError
from tests.usecases.replica import Replica

PATIENCE_SECONDS = 30.0

LOCK_STUDY = "FOR NO KEY UPDATE"
LOCK_LEASE = "FOR UPDATE SKIP LOCKED"
RENEW_LEASE = "UPDATE lease"


class At(StrEnum):
    """Where a transaction stops."""

    STATEMENT = "before its statement"
    """What it looked at before is old by the time that it goes on."""
    COMMIT = "before its commit"
    """It holds every lock that it will ever hold."""


@dataclass(frozen=True)
class Call:
    """A use case on a replica, and the statement by which its transaction is told from the replica's others."""

    replica: Replica
    begin: Callable[[], Awaitable[Any]]
    statement: str = LOCK_STUDY


@dataclass(frozen=True)
class Played:
    """What came of it."""

    stopped: Any
    """The answer to the call that stopped, or the error that it was refused with."""
    other: Any
    waited_at: str | None
    """The statement at which the other one waited for the stopped transaction to end."""


@dataclass(frozen=True)
class Order:
    """Which of two calls stops where."""

    stops: int
    at: At

    @property
    def first(self) -> int:
        """The call that comes first in effect: 0 or 1."""
        return self.stops if self.at is At.COMMIT else 1 - self.stops

    async def of(self, replicas: tuple[Replica, Replica], *begin: Callable[[], Awaitable[Any]]) -> tuple[Any, Any]:
        """The answers to the two calls, the first one on the first replica."""
        calls = [Call(replica, call) for replica, call in zip(replicas, begin, strict=True)]
        played = await play(calls[self.stops], self.at, calls[1 - self.stops])
        if self.at is At.COMMIT:
            assert played.waited_at is not None, "it should have waited for the one that holds the study"
            assert LOCK_STUDY in played.waited_at
        else:
            assert played.waited_at is None
        answers = (played.stopped, played.other)
        return answers if self.stops == 0 else answers[::-1]


async def play(stopping: Call, at: At, other: Call) -> Played:
    """Stop a transaction of one call, begin the other, and let the first go on once the other waits or has ended."""
    with _stop(stopping, at) as stop:
        first = asyncio.create_task(_answer(stopping))
        first.add_done_callback(lambda _: stop.reached.set())
        assert await asyncio.to_thread(stop.reached.wait, PATIENCE_SECONDS), "it neither stops nor ends"
        assert not first.done(), f"it ended without stopping: {first.result()!r}"
        second = asyncio.create_task(_answer(other))
        waited_at = await asyncio.to_thread(_wait_for_waiting, stopping.replica, stop.backend, second.done)
        stop.go_on.set()
        answers = await asyncio.wait_for(asyncio.gather(first, second), PATIENCE_SECONDS)
    return Played(*answers, waited_at)


async def _answer(call: Call) -> Any:
    try:
        return await call.begin()
    except DomainError as error:
        return error


class _Stop:
    """Stands in a writing thread's way, once."""

    def __init__(self, statement: str, at: At) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.backend = 0
        """The stopped transaction's process on the server."""
        self._statement = statement
        self._at = at
        self._met: sa.Connection | None = None

    def before_statement(self, connection: sa.Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if self._met is None and self._statement in statement:
            self._met = connection
            if self._at is At.STATEMENT:
                self._stand_still(connection)

    def before_commit(self, connection: sa.Connection) -> None:
        if self._at is At.COMMIT and self._met is connection:
            self._stand_still(connection)

    def _stand_still(self, connection: sa.Connection) -> None:
        self.backend = connection.connection.dbapi_connection.info.backend_pid  # type: ignore[union-attr]
        self.reached.set()
        self.go_on.wait(PATIENCE_SECONDS)


@contextlib.contextmanager
def _stop(call: Call, at: At) -> Iterator[_Stop]:
    stop, engine = _Stop(call.statement, at), call.replica.database.writer
    listeners = (("before_cursor_execute", stop.before_statement), ("commit", stop.before_commit))
    for name, listener in listeners:
        sa.event.listen(engine, name, listener)
    try:
        yield stop
    finally:
        stop.go_on.set()
        for name, listener in listeners:
            sa.event.remove(engine, name, listener)


_WAITING = sa.text(
    "SELECT query FROM pg_stat_activity AS one WHERE :backend = ANY(pg_blocking_pids(one.pid))"
    " AND EXISTS (SELECT FROM pg_locks WHERE pg_locks.pid = one.pid AND NOT granted)"
)


def _wait_for_waiting(replica: Replica, backend: int, has_ended: Callable[[], bool]) -> str | None:
    """The statement of whoever waits for that backend, asked of the server itself; None: the other call has ended."""
    onlooker = sa.create_engine(replica.database.writer.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    pause = threading.Event()
    with onlooker.connect() as connection:
        while not has_ended():
            if waiting := connection.execute(_WAITING, {"backend": backend}).scalars().first():
                return str(waiting)
            pause.wait(0.01)
    return None
