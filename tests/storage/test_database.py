"""Opening a database: safely, or with one sentence that says why not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from service.storage import tables
from service.storage.database import Database, DatabaseError, open_database, url_of
from tests.storage.rows import STUDY, put, put_attempt
from tests.support.service import ROOT


@pytest.fixture
def sqlite(tmp_path: Path, sqlite_template: Path) -> str:
    path = tmp_path / "assayer.db"
    path.write_bytes(sqlite_template.read_bytes())
    return str(path)


def pragma(connection: sa.Connection, name: str) -> object:
    return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()


def test_sqlite_is_set_to_lose_nothing(sqlite: str) -> None:
    database = open_database(sqlite)
    with database.writer.connect() as connection:
        assert pragma(connection, "journal_mode") == "wal"
        assert pragma(connection, "synchronous") == 2  # FULL
        assert pragma(connection, "foreign_keys") == 1
        assert pragma(connection, "query_only") == 0
    assert database.read_sync(lambda connection: pragma(connection, "query_only")) == 1
    database.close()


def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(sa.exc.DBAPIError, match=r"readonly|read-only"):
        database.read_sync(lambda connection: put(connection, tables.study, STUDY))


def test_a_reader_sees_one_snapshot(database: Database) -> None:
    def read(connection: sa.Connection) -> tuple[int, int]:
        counted = sa.select(sa.func.count()).select_from(tables.study)
        before = connection.execute(counted).scalar_one()
        with database.writer.begin() as writer:
            put_attempt(writer)
        return before, connection.execute(counted).scalar_one()

    assert database.read_sync(read) == (0, 0)


def test_children_cannot_outlive_their_parents(database: Database) -> None:
    with database.writer.begin() as connection:
        put_attempt(connection)
        connection.execute(tables.study.delete())
        assert connection.execute(sa.select(tables.attempt)).all() == []


def test_the_databases_clock_tells_microseconds_of_now(database: Database) -> None:
    def moment(connection: sa.Connection) -> int:
        return database.dialect.now(connection)

    # A database elsewhere has a clock of its own, which is near this one.
    assert database.read_sync(moment) == pytest.approx(time.time() * 1e6, abs=3600e6)
    first, second = database.read_sync(moment), database.read_sync(moment)
    assert 0 <= second - first < 5_000_000


def test_a_second_process_on_one_sqlite_file_is_refused_by_name(sqlite: str) -> None:
    database = open_database(sqlite)
    script = "from service.storage.database import *\nimport sys\ntry: open_database(sys.argv[1])\n"
    script += "except DatabaseError as error: sys.exit(str(error))"
    second = [sys.executable, "-c", script, sqlite]
    refused = subprocess.run(second, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"{sqlite} is already served by process {os.getpid()}; stop it, name another file")
    database.close()
    accepted = subprocess.run(second, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert accepted.returncode == 0, accepted.stderr


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("mysql://me@db/assayer", "mysql is not supported; use sqlite:///path or postgresql://user@host/name"),
        ("oracle://db", "oracle is not supported; use sqlite:///path or postgresql://user@host/name"),
        ("sqlite://", "a SQLite URL names a file; write sqlite:///assayer.db"),
        ("sqlite:///:memory:", "a database in memory is lost when the service stops; name a file"),
        (":memory:", "a database in memory is lost when the service stops; name a file"),
        ("://", "'://' is no database URL; write a path or postgresql://user@host/name"),
        ("postgresql://me@db:port/x", "is no database URL; write a path or postgresql://user@host/name"),
    ],
)
def test_a_wrong_url_is_reported_in_a_sentence(given: str, sentence: str) -> None:
    with pytest.raises(DatabaseError) as caught:
        url_of(given)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgres_is_spoken_through_psycopg(scheme: str) -> None:
    assert url_of(f"{scheme}://me@db/assayer").drivername == "postgresql+psycopg"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"the folder .*nowhere does not exist; create it first"):
        open_database(str(tmp_path / "nowhere" / "assayer.db"))


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"it is a folder; name a file in it, .*assayer\.db for example"):
        open_database(str(tmp_path))


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseError, match=r"the folder .*file does not exist"):
        open_database(str(tmp_path / "file" / "assayer.db"))


@pytest.fixture
def read_only_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nobody here can make a file; root can write to any but the kernel's own."""
    if os.geteuid() == 0:
        yield Path("/sys")
        return
    tmp_path.chmod(0o555)
    yield tmp_path
    tmp_path.chmod(0o755)


def test_a_read_only_folder_is_reported(read_only_folder: Path) -> None:
    with pytest.raises(DatabaseError, match=r"cannot write to .*assayer\.db: .*name another file"):
        open_database(str(read_only_folder / "assayer.db"))


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("certainly not a database, and long enough to be read as the header of one. " * 20)
    with pytest.raises(DatabaseError, match=r"cannot use sqlite:.*notes\.txt: file is not a database"):
        open_database(str(path))


def test_an_unreachable_postgres_is_reported_without_its_password() -> None:
    with pytest.raises(DatabaseError, match="cannot use postgresql") as caught:
        open_database("postgresql://me:secret@127.0.0.1:1/assayer")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
