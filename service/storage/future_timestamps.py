"""Timestamps in the future, stored while the database's clock was ahead: finds them and sets them to now."""

from __future__ import annotations

import sqlalchemy as sa

from service.storage import tables

OF_STUDIES = {
    tables.study: ("created_at", "finished_at", "active_since", "stop_requested_at", "archived_at"),
    tables.trial: ("created_at", "started_at", "finished_at"),
    tables.attempt: ("started_at", "ended_at"),
}
"""Timestamps of a study that decisions depend on. Changing them increments the study's revision."""

OF_ALL = {
    tables.lease: ("granted_at", "renewed_at"),
    tables.worker: ("first_seen_at", "last_seen_at", "quarantined_at"),
    tables.deployment: ("reaper_seen_at", "created_at"),
    tables.study: ("deleted_at",),
    tables.study_host_exclusion: ("excluded_at",),
    tables.study_diagnosis: ("judged_at",),
}
"""Timestamps outside any study's revision. Each maintenance round checks the expiry of leases itself."""


_DELETED = sa.select(tables.study.c.id).where(tables.study.c.deleted_at.is_not(None))


def find_studies(connection: sa.Connection, now: int) -> list[str]:
    """Return the ids of the studies with a timestamp in the future."""
    found: set[str] = set()
    for table, columns in OF_STUDIES.items():
        is_ahead = sa.or_(*(table.c[column] > now for column in columns))
        query = sa.select(_owner(table)).where(is_ahead, _owner(table).not_in(_DELETED))
        found |= set(connection.execute(query.distinct()).scalars())
    return sorted(found)


def correct_study(connection: sa.Connection, study_id: str, now: int, revision: int) -> None:
    """Set a study's future timestamps to now, and stamp the changed trials with `revision`.

    A trial is also stamped if one of its attempts changes: tallies read the attempts of changed trials only.
    """
    attempts = tables.attempt
    is_ahead = sa.or_(*(attempts.c[column] > now for column in OF_STUDIES[attempts]))
    moved = sa.select(attempts.c.trial_id).where(attempts.c.study_id == study_id, is_ahead)
    connection.execute(tables.trial.update().where(tables.trial.c.id.in_(moved)).values(revision=revision))
    for table, columns in OF_STUDIES.items():
        stamp = {"revision": revision} if table is tables.trial else {}
        for column in columns:
            is_ahead = table.c[column] > now
            connection.execute(table.update().where(_owner(table) == study_id, is_ahead).values({column: now, **stamp}))


def correct_rest(connection: sa.Connection, now: int) -> None:
    """Set the future instants of leases, workers, exclusions, the deployment and deletions to now."""
    for table, columns in OF_ALL.items():
        for column in columns:
            connection.execute(table.update().where(table.c[column] > now).values({column: now}))


def _owner(table: sa.Table) -> sa.ColumnElement[str]:
    """Return the column with the id of the study that a row belongs to."""
    return table.c.id if table is tables.study else table.c.study_id
