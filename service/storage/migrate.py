"""Schema migrations: upgrades a database to this version's schema and refuses an unknown schema."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from alembic import command

_INSTALLED = Path(__file__).parent / "migrations"
_CHECKOUT = Path(__file__).parents[2] / "alembic"


_LOCK = 0x617373617965  # "assaye": the number is arbitrary, but must be the same in every version


class UnknownSchemaError(Exception):
    """The database has a schema that this version does not know."""


def configuration() -> Config:
    """Return Alembic's configuration: a wheel contains the migrations, a checkout has them in alembic/."""
    config = Config()
    config.set_main_option("script_location", str(_INSTALLED if _INSTALLED.is_dir() else _CHECKOUT))
    return config


def current(engine: sa.Engine) -> str | None:
    """Return the schema revision of a database, or None if it is empty."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def require_current(engine: sa.Engine) -> None:
    """Raise unless the database has the schema of this version; change nothing.

    Raises:
        UnknownSchemaError: The database has another schema, or none.
    """
    at, head = current(engine), ScriptDirectory.from_config(configuration()).get_current_head()
    if at != head:
        raise UnknownSchemaError(f"its schema is {at or '(none)'}, and this version needs {head}; run: assayer migrate")


def upgrade(engine: sa.Engine, revision: str = "head") -> None:
    """Migrate the database up to `revision`.

    Raises:
        UnknownSchemaError: This version has no migration for the database's revision, or the database contains tables
            of another program.
    """
    with _alone(engine):
        _upgrade(engine, revision)


@contextmanager
def _alone(engine: sa.Engine) -> Iterator[None]:
    """Serialize the migrations of replicas that start together; an SQLite file is opened by only one process."""
    if engine.dialect.name != "postgresql":
        yield
        return
    with engine.connect() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_lock(_LOCK)))
        try:
            yield
        finally:
            connection.execute(sa.select(sa.func.pg_advisory_unlock(_LOCK)))


def _upgrade(engine: sa.Engine, revision: str) -> None:
    config = configuration()
    scripts = ScriptDirectory.from_config(config)
    known = {script.revision for script in scripts.walk_revisions()}
    at = current(engine)
    if at is not None and at not in known:
        raise UnknownSchemaError(
            f"the database is at schema {at}, which this version of the service does not know; "
            "install the version that wrote it, or a newer one"
        )
    others = set(sa.inspect(engine).get_table_names()) - {"alembic_version"}
    if at is None and others:
        raise UnknownSchemaError(
            f"the database is not empty (it has {', '.join(sorted(others)[:3])}) and was not made by this service; "
            "name an empty database"
        )
    if at == scripts.get_current_head() and revision == "head":
        return
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def downgrade(engine: sa.Engine, revision: str) -> None:
    """Migrate the database down to `revision` ("base": no tables)."""
    config = configuration()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
