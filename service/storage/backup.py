"""Backup and restore of SQLite databases: copies one while a service runs, and installs a copy atomically."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from service.storage.database import DatabaseError, redacted_url, url_of
from service.storage.dialect import open_to_read
from service.storage.fsync import sync

_BESIDE = ("", "-wal", "-shm", "-journal", ".lock")
"""Suffixes of the files that SQLite and the service keep for a database; a stale log would be applied to a new file."""


def back_up(given: str, target: Path) -> None:
    """Copy the database as of one instant to a new file; a running service does not wait for it.

    Raises:
        DatabaseError: The database does not exist or is not of this service; the file exists or cannot be written; or
            the database is Postgres, which has its own backup command.
    """
    url = url_of(given)
    if url.get_backend_name() != "sqlite":
        raise DatabaseError(
            f"Postgres makes its own backups: pg_dump --format=custom --file={target} {_for_postgres(url)} "
            f"(back: pg_restore --dbname=URL {target}, then: assayer restore --database URL)"
        )
    with _copied(Path(url.database or ""), target):
        pass


@contextlib.contextmanager
def restoring(backup: Path, given: str) -> Iterator[str]:
    """Copy a backup next to the target, yield the copy's path for changes, then move it to the target.

    Raises:
        DatabaseError: The backup cannot be read or is not one of this service; the target exists already; or the target
            is Postgres.
    """
    url = url_of(given)
    if url.get_backend_name() != "sqlite":
        raise DatabaseError(
            f"Postgres reads its own backups: pg_restore --dbname={_for_postgres(url)} {backup}, "
            f"then: assayer restore --database {redacted_url(given)}"
        )
    with _copied(backup, Path(url.database or "")) as partial:
        yield str(partial)


def require_there(given: str) -> None:
    """Raise if there is no database, because opening it would create a new one.

    Raises:
        DatabaseError: The database does not exist.
    """
    url = url_of(given)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise DatabaseError(f"there is no database {url.database}; name the backup to restore: assayer restore FILE")


def _for_postgres(url: sa.URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=True)


@contextlib.contextmanager
def _copied(source: Path, target: Path) -> Iterator[Path]:
    """Yield a copy next to `target` that replaces it at the end of the block; a failed copy is deleted."""
    if not source.is_file():
        raise DatabaseError(f"cannot read {source}: there is no such file")
    taken = [path for end in _BESIDE[:-1] if (path := _with_end(target, end)).exists()]
    if taken:
        raise DatabaseError(f"{taken[0]} exists already; move it away first, or name another file")
    if not target.parent.is_dir():
        raise DatabaseError(f"cannot write {target}: the folder {target.parent} does not exist; create it first")
    partial = _with_end(target, ".part")
    try:
        _remove(partial)
        _copy(source, partial)
        yield partial
        _settle(partial)
        partial.replace(target)
        sync(target.parent)
    except OSError as error:
        raise DatabaseError(f"cannot write {target}: {error.strerror}; name another file") from None
    except sqlite3.Error as error:
        raise DatabaseError(f"cannot copy {source}: {error}") from None
    finally:
        _remove(partial)


def _copy(source: Path, partial: Path) -> None:
    with contextlib.closing(open_to_read(source)) as opened:
        if opened.execute("SELECT 1 FROM sqlite_schema WHERE name = 'deployment'").fetchone() is None:
            raise DatabaseError(f"{source} holds no studies: it is not a database of this service")
        with contextlib.closing(sqlite3.connect(partial)) as copy:
            # Copy in one step, which reads one snapshot: a copy page by page starts again with each write of the
            # service.
            opened.backup(copy)


def _settle(partial: Path) -> None:
    """Merge the write-ahead log into the database file, and flush the file to the disk."""
    with contextlib.closing(sqlite3.connect(partial, isolation_level=None)) as copy:
        copy.execute("PRAGMA journal_mode = DELETE")
    sync(partial)


def _remove(partial: Path) -> None:
    for end in _BESIDE:
        _with_end(partial, end).unlink(missing_ok=True)


def _with_end(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)
