"""Queries for custom entries, as workers registered them last."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from service.storage.tables import custom_entry

_ALL = sa.select(custom_entry).order_by(custom_entry.c.section, custom_entry.c.name)


def all_of(connection: sa.Connection) -> Sequence[sa.Row[Any]]:
    """Return every custom entry, by section and name."""
    return connection.execute(_ALL).all()


def named(connection: sa.Connection, keys: Collection[tuple[str, str]]) -> Sequence[sa.Row[Any]]:
    """Return the registered custom entries among these sections and names."""
    if not keys:
        return []
    chosen = sa.or_(
        *(sa.and_(custom_entry.c.section == section, custom_entry.c.name == name) for section, name in sorted(keys))
    )
    return connection.execute(_ALL.where(chosen)).all()
