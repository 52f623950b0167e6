"""Hosts that get no trials of one study: by study, by host, and for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from service.storage.tables import study, study_host_exclusion, worker

HOST_OF_WORKER = sa.case((worker.c.host != "", worker.c.host), else_=worker.c.name)
"""The host of a row of the worker table; the worker's own name where it names none."""

# A claim asks this once, so it is built once: building costs more than executing.
_OF_HOST = sa.select(study_host_exclusion.c.study_id, study_host_exclusion.c.reason).where(
    study_host_exclusion.c.host == sa.bindparam("host")
)
_NAMED = sa.select(study_host_exclusion, study.c.name.label("study")).join(
    study, sa.and_(study.c.id == study_host_exclusion.c.study_id, study.c.deleted_at.is_(None))
)
_ORDER = (study_host_exclusion.c.excluded_at, study_host_exclusion.c.host)


def reasons_of_host(connection: sa.Connection, host: str) -> dict[str, str]:
    """Return the studies whose trials this host does not get, with the reasons, by the id of the study."""
    return {row.study_id: row.reason for row in connection.execute(_OF_HOST, {"host": host})}


def of_study(connection: sa.Connection, study_id: str) -> Sequence[sa.Row[Any]]:
    """Return the exclusions of one study, the earliest first, each with the name of the study."""
    return connection.execute(_NAMED.where(study.c.id == study_id).order_by(*_ORDER)).all()


def of_all(connection: sa.Connection) -> Sequence[sa.Row[Any]]:
    """Return all exclusions, the earliest first, each with the name of its study."""
    return connection.execute(_NAMED.order_by(*_ORDER)).all()


def hosts_of(study_id: str, before: int | None = None) -> sa.Select[tuple[str]]:
    """Select the hosts that get no trials of a study; with `before`, those excluded before that instant."""
    table = study_host_exclusion
    query = sa.select(table.c.host).where(table.c.study_id == study_id)
    return query if before is None else query.where(table.c.excluded_at < before)
