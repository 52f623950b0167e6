"""Opens a database by URL or path, with one process per SQLite file and separate engines for writing and reading."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from service.contract.problem import ErrorCode
from service.domain.errors import DomainError, UnserializableError
from service.storage import migrate
from service.storage.dialect import NUM_READERS, NUM_VIEWERS, Dialect, Postgres, Sqlite

T = TypeVar("T")

DATABASE_ERRORS = (sa.exc.DBAPIError, sa.exc.TimeoutError)
"""Exceptions of the database itself: it refused a statement, or no connection was available."""


class DatabaseError(Exception):
    """The database cannot be used; the message says why and what to do."""


def url_of(given: str) -> sa.URL:
    """Parse a database's URL; a plain path means SQLite.

    Raises:
        DatabaseError: This is neither a path nor a URL of SQLite or Postgres.
    """
    if given.endswith(":memory:"):
        raise DatabaseError("a database in memory is lost when the service stops; name a file")
    if "://" not in given:
        return sa.URL.create("sqlite", database=given)
    try:
        url = sa.make_url(given)
    except (sa.exc.ArgumentError, ValueError):
        raise DatabaseError(f"{given!r} is no database URL; write a path or postgresql://user@host/name") from None
    backend = url.get_backend_name()
    if backend in {"postgres", "postgresql"}:
        return url.set(drivername="postgresql+psycopg")
    if backend == "sqlite":
        if not url.database:
            raise DatabaseError("a SQLite URL names a file; write sqlite:///assayer.db")
        return url
    raise DatabaseError(f"{backend} is not supported; use sqlite:///path or postgresql://user@host/name")


def redacted_url(given: str) -> str:
    """Return a database's URL for messages: without its password and without the driver's name."""
    url = url_of(given)
    return url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True)


def sqlite_path(given: str) -> Path | None:
    """Return the file of an SQLite database, or None for Postgres."""
    url = url_of(given)
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


class Database:
    """An open database: engines and thread pools for writing, for reads of the search, and for reads of viewers."""

    def __init__(self, dialect: Dialect, lock: _FileLock | None = None) -> None:
        self.dialect = dialect
        self.writer = dialect.writer()
        self._reader = dialect.reader(NUM_READERS)
        self._viewer = dialect.reader(NUM_VIEWERS)
        self._lock = lock
        self.writing = ThreadPoolExecutor(dialect.num_writers, "write")
        self.reading = ThreadPoolExecutor(NUM_READERS, "read")
        self.viewing = ThreadPoolExecutor(NUM_VIEWERS, "view")

    async def read(self, query: Callable[[sa.Connection], T]) -> T:
        """Run `query` on one consistent snapshot in a reading thread, for requests that the search waits for."""
        return await asyncio.get_running_loop().run_in_executor(self.reading, self.read_sync, query)

    async def read_for_viewer(self, query: Callable[[sa.Connection], T]) -> T:
        """Run `query` on one consistent snapshot for a user or dashboard, in the small pool of viewer threads."""
        return await asyncio.get_running_loop().run_in_executor(self.viewing, self._view, query)

    async def run_for_viewer(self, work: Callable[[], T]) -> T:
        """Run a computation for a user or dashboard in a viewer thread."""
        return await asyncio.get_running_loop().run_in_executor(self.viewing, work)

    def _view(self, query: Callable[[sa.Connection], T]) -> T:
        with self.connected(self._viewer) as connection:
            return query(connection)

    def read_sync(self, query: Callable[[sa.Connection], T]) -> T:
        """Run `query` on one consistent snapshot in this thread."""
        with self.connected(self._reader) as connection:
            return query(connection)

    @contextlib.contextmanager
    def connected(self, engine: sa.Engine) -> Iterator[sa.Connection]:
        """Yield a connection for this block, and convert database errors.

        Raises:
            DomainError: The database is unavailable, its disk is full, or it cannot store a value (a number too large,
                a NUL).
            UnserializableError: A value is not valid JSON.
        """
        try:
            with engine.connect() as connection:
                yield connection
        except (sa.exc.DataError, OverflowError, UnicodeEncodeError) as error:
            if isinstance(error, OverflowError) and not _is_of_driver(error):
                raise  # raised by the block's own code
            reason = str(error.orig if isinstance(error, sa.exc.DataError) else error).splitlines()[0]
            raise DomainError(ErrorCode.INVALID_REQUEST, f"a value of the request cannot be stored: {reason}") from None
        except sa.exc.DBAPIError as error:
            if self.dialect.is_full(error):
                reason = "the disk of the database is full, so nothing was written; free some space, then repeat it"
                raise DomainError(ErrorCode.DATABASE_FULL, reason) from error
            if not self.dialect.is_unavailable(error):
                raise
            reason = "the database does not answer; repeat the request in a second"
            raise DomainError(ErrorCode.UNAVAILABLE, reason) from error
        except sa.exc.StatementError as error:
            # SQLAlchemy wraps every exception of a JSON column's encoder.
            if isinstance(error.orig, UnserializableError):
                raise error.orig from None
            raise

    def close(self) -> None:
        """Finish running work and close the database."""
        self.writing.shutdown()
        self.reading.shutdown()
        self.viewing.shutdown()
        self.writer.dispose()
        self._reader.dispose()
        self._viewer.dispose()
        if self._lock is not None:
            self._lock.release()


def _is_of_driver(error: Exception) -> bool:
    """Return whether SQLAlchemy raised the exception during a statement, and not the code between statements."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return frame is not None and str(frame.tb_frame.f_globals.get("__name__")).startswith("sqlalchemy")


class _FileLock:
    """Prevents a second server from opening the same SQLite file.

    It locks a file of its own: closing any other handle on the database file would release SQLite's own locks.
    """

    def __init__(self, database: Path) -> None:
        path = database.with_name(database.name + ".lock")
        self._file = path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read().strip()
            self._file.close()
            raise DatabaseError(
                f"{database} is already served by process {holder or '(unknown)'}; "
                "stop it, name another file with --database, or use Postgres for several servers"
            ) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        self._file.close()


def open_database(given: str, *, migrating: bool = True) -> Database:
    """Open the database and, unless `migrating` is false, migrate its schema to this version.

    Raises:
        DatabaseError: The database cannot be reached or written to, or another process serves it.
        UnknownSchemaError: The database has a schema that this version does not know.
    """
    url = url_of(given)
    if url.get_backend_name() == "sqlite":
        database = _open_sqlite(Path(url.database or ""))
    else:
        database = Database(_postgres(url))
    try:
        if migrating:
            migrate.upgrade(database.writer)
    except sa.exc.DBAPIError as error:
        database.close()
        raise _unusable(given, error) from None
    except BaseException:
        database.close()
        raise
    return database


@contextlib.contextmanager
def open_read_only(given: str) -> Iterator[sa.Connection]:
    """Yield one consistent read-only snapshot of a database, whether or not a service is running on it.

    Raises:
        DatabaseError: The database does not exist, or is not of this service.
        UnknownSchemaError: The database has another schema than this version.
    """
    url = url_of(given)
    engine = _read_only_engine(url)
    try:
        migrate.require_current(engine)
        with engine.connect() as connection:
            yield connection
    except sa.exc.DBAPIError as error:
        raise _unusable(given, error) from None
    finally:
        engine.dispose()


def _read_only_engine(url: sa.URL) -> sa.Engine:
    if url.get_backend_name() != "sqlite":
        return _postgres(url).read_only_engine()
    path = Path(url.database or "")
    if not path.is_file():
        raise DatabaseError(f"cannot open {path}: there is no such file; name the database with --database")
    return Sqlite(path).read_only_engine()


def _unusable(given: str, error: sa.exc.DBAPIError) -> DatabaseError:
    reason = str(error.orig).strip().splitlines()[0]
    return DatabaseError(f"cannot use {redacted_url(given)}: {reason}")


def _postgres(url: sa.URL) -> Postgres:
    try:
        import psycopg  # noqa: F401, PLC0415 - an optional dependency that only Postgres needs
    except ImportError:
        raise DatabaseError("Postgres needs the driver: pip install 'assayer[service]'") from None
    return Postgres(url)


def _open_sqlite(path: Path) -> Database:
    if not path.parent.is_dir():
        raise DatabaseError(f"cannot open {path}: the folder {path.parent} does not exist; create it first")
    if path.is_dir():
        raise DatabaseError(f"cannot open {path}: it is a folder; name a file in it, {path / 'assayer.db'} for example")
    writable = os.access(path.parent, os.W_OK) and (not path.exists() or os.access(path, os.W_OK))
    if not writable:
        raise DatabaseError(f"cannot write to {path}: it is read-only here; make it writable or name another file")
    try:
        lock = _FileLock(path)
    except OSError as error:
        raise DatabaseError(f"cannot write to {path}: {error.strerror}; name another file with --database") from None
    return Database(Sqlite(path), lock)
