"""The journal: what happened to a study, in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from service.storage.tables import journal


def after(
    connection: sa.Connection, study_id: str, revision: int, limit: int, kind: str | None = None
) -> Sequence[sa.Row[Any]]:
    """Journal rows (of one kind) past `revision`, at most about `limit`, and never part of a revision only."""
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
    """When a study came to a revision; long ago (0) where nothing was journalled at it."""
    query = sa.select(journal.c.at).where(journal.c.study_id == study_id, journal.c.revision == revision).limit(1)
    return connection.execute(query).scalar_one_or_none() or 0
