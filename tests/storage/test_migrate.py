"""Migrations make the declared schema on both databases, and refuse an unknown one."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from service.storage import migrate, tables
from service.storage.database import open_database
from service.storage.migrate import UnknownSchemaError
from tests.storage.rows import put_attempt

REBUILD = '''
"""Changes a column of the study table: SQLite must rebuild it for that."""
import sqlalchemy as sa
from alembic import op

revision = "further"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade():
    with op.batch_alter_table("study") as batch:
        batch.add_column(sa.Column("color", sa.String(8)))
        batch.alter_column("owner", type_=sa.String(80))
    {more}


def downgrade():
    with op.batch_alter_table("study") as batch:
        batch.drop_column("color")
'''


HEAD = ScriptDirectory.from_config(migrate.configuration()).get_current_head()


@pytest.fixture
def engine(empty_database_url: str) -> Iterator[sa.Engine]:
    database = open_database(empty_database_url, migrating=False)
    yield database.writer
    database.close()


def names(engine: sa.Engine) -> set[str]:
    return set(sa.inspect(engine).get_table_names())


def test_migrations_lead_up_down_and_up_again(engine: sa.Engine) -> None:
    declared = set(tables.metadata.tables) | {"alembic_version"}
    migrate.upgrade(engine)
    assert names(engine) == declared
    migrate.downgrade(engine, "base")
    assert names(engine) == {"alembic_version"}
    migrate.upgrade(engine)
    assert names(engine) == declared
    migrate.upgrade(engine)


def test_the_migrated_schema_is_the_declared_one(engine: sa.Engine) -> None:
    migrate.upgrade(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []


def test_the_migrated_checks_are_the_declared_ones(engine: sa.Engine) -> None:
    """Alembic does not compare CHECK constraints, so this does, by name and number."""
    migrate.upgrade(engine)
    for name, table in tables.metadata.tables.items():
        declared = {str(check.name) for check in table.constraints if isinstance(check, sa.CheckConstraint)}
        found = {check["name"] for check in sa.inspect(engine).get_check_constraints(name)}
        assert found == declared, name


def test_rebuilding_a_table_leaves_its_children_alive(
    engine: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate.upgrade(engine)
    with engine.begin() as connection:
        put_attempt(connection)
    further(tmp_path, monkeypatch)
    migrate.upgrade(engine)
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT color FROM study")).scalars().all() == [None]
        assert len(connection.execute(sa.select(tables.trial)).all()) == 1
        assert len(connection.execute(sa.select(tables.attempt)).all()) == 1


def test_a_rebuild_leaves_foreign_keys_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = open_database(str(tmp_path / "assayer.db"))
    further(tmp_path, monkeypatch)
    migrate.upgrade(database.writer)
    with database.writer.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
    database.close()


def test_a_migration_that_fails_changes_nothing(
    engine: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate.upgrade(engine)
    further(tmp_path, monkeypatch, more='raise RuntimeError("half way")')
    with pytest.raises(RuntimeError, match="half way"):
        migrate.upgrade(engine)
    assert migrate.current(engine) == HEAD
    assert "color" not in {column["name"] for column in sa.inspect(engine).get_columns("study")}


def further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, more: str = "") -> None:
    """A later version of the service, with a second migration."""
    scripts = tmp_path / "alembic"
    shutil.copytree(Path(migrate.__file__).parents[2] / "alembic", scripts)
    (scripts / "versions" / "further.py").write_text(REBUILD.format(more=more, head=HEAD))
    monkeypatch.setattr(migrate, "_CHECKOUT", scripts)


def test_a_schema_of_a_newer_version_is_refused(empty_database_url: str) -> None:
    database = open_database(empty_database_url)
    with database.writer.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0099'")
    database.close()
    with pytest.raises(UnknownSchemaError, match="at schema 0099, which this version of the service does not know"):
        open_database(empty_database_url)


def test_somebody_elses_database_is_refused(empty_database_url: str) -> None:
    database = open_database(empty_database_url, migrating=False)
    with database.writer.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE customers (id INTEGER)")
    database.close()
    with pytest.raises(UnknownSchemaError, match=r"not empty \(it has customers\) and was not made by this service"):
        open_database(empty_database_url)


def test_a_refused_database_is_let_go_of(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    theirs = sqlite3.connect(path)
    theirs.execute("CREATE TABLE customers (id INTEGER)")
    theirs.close()
    for _ in range(2):
        with pytest.raises(UnknownSchemaError, match="customers"):
            open_database(str(path))
