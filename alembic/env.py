"""Alembic environment: migrates the connection that the service passes, or ASSAYER_DATABASE from the command line."""

from __future__ import annotations

import os

import sqlalchemy as sa

from alembic import context
from service.storage.database import url_of
from service.storage.tables import metadata


def migrate(connection: sa.Connection) -> None:
    """Run the migrations in one transaction, with foreign keys off on SQLite.

    A batch migration on SQLite rebuilds tables. With foreign keys on, dropping the old table would delete every child
    row by cascade. SQLite ignores the pragma inside a transaction, so it must run before BEGIN.
    """
    sqlite = connection.dialect.name == "sqlite"
    if sqlite:
        raw = connection.connection.dbapi_connection
        connection.rollback()
        raw.execute("PRAGMA foreign_keys = OFF")
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=sqlite)
    try:
        with context.begin_transaction():
            context.run_migrations()
        if sqlite and (broken := raw.execute("PRAGMA foreign_key_check").fetchall()):
            raise RuntimeError(f"the migration would leave {len(broken)} rows without their parents")
        connection.commit()
    finally:
        if sqlite:
            connection.rollback()
            raw.execute("PRAGMA foreign_keys = ON")


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    with sa.create_engine(url_of(os.environ.get("ASSAYER_DATABASE", "assayer.db"))).connect() as opened:
        migrate(opened)
