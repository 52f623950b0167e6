"""Fair shares: who of the owners of equally urgent studies has used the devices least lately."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from service.storage.dialect import Clock
from service.storage.instants import MICROSECONDS
from service.storage.tables import attempt, study

WINDOW_SECONDS = 24 * 3600
"""How far back use counts."""

LEAST_SECONDS = 60
"""A running attempt counts for at least so much: many claims within a second are shared out too."""

_owner = sa.func.coalesce(study.c.owner, study.c.id)


def in_turn(connection: sa.Connection, claimable: Sequence[sa.Row[Any]], now: Clock) -> list[sa.Row[Any]]:
    """The studies in the order in which to try them: by priority, then the owner who used the least, then the oldest.

    A study without an owner stands for itself.
    """
    priorities = [row.priority for row in claimable]
    if len(set(priorities)) == len(priorities):
        return list(claimable)
    used = _used(connection, {row.owner or row.id for row in claimable}, now(connection))
    return sorted(claimable, key=lambda row: (-row.priority, used.get(row.owner or row.id, 0)))


def _used(connection: sa.Connection, owners: set[str], now: int) -> dict[str, int]:
    """Owner -> microseconds of attempts within the window."""
    since = now - WINDOW_SECONDS * MICROSECONDS
    begun = sa.case((attempt.c.started_at > since, attempt.c.started_at), else_=since)
    least = now - LEAST_SECONDS * MICROSECONDS
    running = now - sa.case((begun < least, begun), else_=least)
    spent = sa.case((attempt.c.ended_at.is_(None), running), else_=attempt.c.ended_at - begun)
    query = (
        sa.select(_owner.label("owner"), sa.func.sum(spent).label("spent"))
        .join(attempt, attempt.c.study_id == study.c.id)
        .where(_owner.in_(sorted(owners)), sa.or_(attempt.c.ended_at.is_(None), attempt.c.ended_at > since))
        .group_by(_owner)
    )
    return {row.owner: int(row.spent) for row in connection.execute(query)}
