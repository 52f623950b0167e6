"""Fair share: orders studies of equal priority by how much their owners have used the devices recently."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from service.storage.dialect import Clock
from service.storage.tables import attempt, study
from service.storage.timestamps import MICROSECONDS

WINDOW_SECONDS = 24 * 3600
"""How far back usage counts."""

LEAST_SECONDS = 60
"""Minimum usage of a running attempt, so that many claims within a second are shared fairly too."""

_owner = sa.func.coalesce(study.c.owner, study.c.id)

# Built once, because building costs more than executing, and every claim with a choice of studies runs it.
_now, _since, _least = (sa.bindparam(name, type_=sa.BigInteger) for name in ("now", "since", "least"))
_begun = sa.case((attempt.c.started_at > _since, attempt.c.started_at), else_=_since)
_running = _now - sa.case((_begun < _least, _begun), else_=_least)
_spent = sa.case((attempt.c.ended_at.is_(None), _running), else_=attempt.c.ended_at - _begun)
_USED = (
    sa.select(_owner.label("owner"), sa.func.sum(_spent * attempt.c.num_devices).label("spent"))
    .join(attempt, attempt.c.study_id == study.c.id)
    .where(
        _owner.in_(sa.bindparam("owners", expanding=True)),
        sa.or_(attempt.c.ended_at.is_(None), attempt.c.ended_at > _since),
    )
    .group_by(_owner)
)


def order_by_fair_share(connection: sa.Connection, claimable: Sequence[sa.Row[Any]], now: Clock) -> list[sa.Row[Any]]:
    """Order studies for a claim: by priority, then the owner with the least usage, then the oldest.

    A study without an owner counts as its own owner.
    """
    priorities = [row.priority for row in claimable]
    if len(set(priorities)) == len(priorities):
        return list(claimable)
    used = _used(connection, {row.owner or row.id for row in claimable}, now(connection))
    return sorted(claimable, key=lambda row: (-row.priority, used.get(row.owner or row.id, 0)))


def _used(connection: sa.Connection, owners: set[str], now: int) -> dict[str, int]:
    """Return the device time of each owner's attempts within the window, in microseconds."""
    given = {
        "now": now,
        "since": now - WINDOW_SECONDS * MICROSECONDS,
        "least": now - LEAST_SECONDS * MICROSECONDS,
        "owners": sorted(owners),
    }
    return {row.owner: int(row.spent) for row in connection.execute(_USED, given)}
