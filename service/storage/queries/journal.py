"""Queries for the journal: the events of a study, in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from service.storage.tables import journal


def after(
    connection: sa.Connection, study_id: str, revision: int, limit: int, kind: str | None = None
) -> Sequence[sa.Row[Any]]:
    """Return journal rows (of one kind) after `revision`, at most about `limit`, and never only part of a revision."""
    query = (
        sa.select(journal)
        .where(journal.c.study_id == study_id, journal.c.revision > revision)
        .order_by(journal.c.revision, journal.c.ordinal)
    )
    if kind is not None:
        query = query.where(journal.c.kind == kind)
    rows = connection.execute(query.limit(limit)).all()
    if len(rows) < limit:
        return rows
    whole = [row for row in rows if row.revision < rows[-1].revision]
    return whole or connection.execute(query.where(journal.c.revision == rows[0].revision)).all()


def at(connection: sa.Connection, study_id: str, revision: int) -> int:
    """Return when a study reached a revision, in UTC microseconds; 0 if no event was recorded at it."""
    query = sa.select(journal.c.at).where(journal.c.study_id == study_id, journal.c.revision == revision).limit(1)
    return connection.execute(query).scalar_one_or_none() or 0
