"""Studies: find one, list them, count their trials, and which may give out a trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from service.contract.study import StudySpec, StudyState
from service.contract.trial import TrialState
from service.domain.errors import DamagedRowError
from service.domain.states import OPEN_TRIALS
from service.storage.damage import reading
from service.storage.tables import enqueued, study, study_spec, trial

# Statements of the paths that every claim and report takes are built once: building costs more than executing.
IS_THERE = study.c.deleted_at.is_(None)
"""Of a study that was not deleted; the rows of others are going."""

_is_listed = sa.and_(IS_THERE, study.c.archived_at.is_(None))
_BY_ID = sa.select(study).where(study.c.id == sa.bindparam("id"))
_FOUND = _BY_ID.where(IS_THERE)
_BY_NAME = sa.select(study).where(
    study.c.project == sa.bindparam("project"), study.c.name == sa.bindparam("name"), IS_THERE
)
_SPEC = sa.select(study_spec.c.spec).where(
    study_spec.c.study_id == sa.bindparam("study"), study_spec.c.version == sa.bindparam("version")
)
_NUM_OPEN = sa.select(sa.func.count()).where(
    trial.c.study_id == sa.bindparam("study"), trial.c.state.in_(sorted(OPEN_TRIALS))
)
_NUM_AWAITED = _NUM_OPEN.where(trial.c.state != TrialState.PAUSED)
_CLAIMABLE = (
    sa.select(study)
    .where(study.c.state == StudyState.ACTIVE, _is_listed)
    .order_by(study.c.priority.desc(), study.c.created_at, study.c.id)
)
_ENQUEUED = (
    sa.select(enqueued)
    .where(enqueued.c.study_id == sa.bindparam("study"), enqueued.c.trial_id.is_(None))
    .order_by(enqueued.c.priority.desc(), enqueued.c.revision)
    .limit(1)
)


def by_id(connection: sa.Connection, study_id: str) -> sa.Row[Any]:
    """The study of that id, which exists or was deleted a moment ago."""
    return connection.execute(_BY_ID, {"id": study_id}).one()


def find(connection: sa.Connection, name_or_id: str) -> sa.Row[Any] | None:
    """The study of that id, or of that name in the default project (or of "project/name")."""
    found = connection.execute(_FOUND, {"id": name_or_id}).one_or_none()
    if found is not None:
        return found
    return find_named(connection, "default", name_or_id)


def find_named(connection: sa.Connection, project: str, name: str) -> sa.Row[Any] | None:
    """The study of that name in a project (or of "project/name" in that one)."""
    named, _, name = name.rpartition("/")
    return connection.execute(_BY_NAME, {"project": named or project, "name": name}).one_or_none()


def ids(connection: sa.Connection) -> list[str]:
    """The ids of all studies, archived ones too."""
    query = sa.select(study.c.id).where(IS_THERE).order_by(study.c.created_at, study.c.id)
    return list(connection.execute(query).scalars())


def deleted(connection: sa.Connection, before: int) -> list[str]:
    """The ids of the studies that were deleted before an instant and of which rows are left, the first one first."""
    query = sa.select(study.c.id).where(study.c.deleted_at < before).order_by(study.c.deleted_at, study.c.id)
    return list(connection.execute(query).scalars())


def names(connection: sa.Connection) -> list[str]:
    """The names of all studies that are not archived, newest first."""
    query = sa.select(study.c.name).where(_is_listed).order_by(study.c.created_at.desc())
    return list(connection.execute(query).scalars())


def all_of(connection: sa.Connection) -> Sequence[sa.Row[Any]]:
    """All studies that are not archived, newest first."""
    query = sa.select(study).where(_is_listed).order_by(study.c.created_at.desc(), study.c.id)
    return connection.execute(query).all()


def spec(connection: sa.Connection, study_id: str, version: int) -> StudySpec:
    """One version of a study's spec.

    Raises:
        DamagedRowError: it is not there, or cannot be read.
    """
    stored = connection.execute(_SPEC, {"study": study_id, "version": version}).one_or_none()
    try:
        with reading("", stored):
            if stored is None:
                raise LookupError(f"version {version} of its spec is missing")
            return StudySpec.model_validate(stored.spec)
    except DamagedRowError as error:
        known = connection.execute(_BY_ID, {"id": study_id}).one_or_none()
        name = study_id if known is None else known.name
        raise DamagedRowError(f"study {name}", f"spec: {error.reason}") from error.__cause__


def spec_if_readable(connection: sa.Connection, study_id: str, version: int) -> StudySpec | None:
    """One version of a study's spec; None where the stored one is damaged."""
    try:
        return spec(connection, study_id, version)
    except DamagedRowError:
        return None


def revisions(connection: sa.Connection) -> dict[str, tuple[int, str]]:
    """Study id -> revision and state, of all studies that are not archived."""
    query = sa.select(study.c.id, study.c.revision, study.c.state).where(_is_listed)
    return {row.id: (row.revision, row.state) for row in connection.execute(query)}


def num_open(connection: sa.Connection, study_id: str) -> int:
    """Trials of a study that may still move."""
    return connection.execute(_NUM_OPEN, {"study": study_id}).scalar_one()


def num_awaited(connection: sa.Connection, study_id: str) -> int:
    """Trials of a study that move by themselves: those that wait or run."""
    return connection.execute(_NUM_AWAITED, {"study": study_id}).scalar_one()


def claimable(connection: sa.Connection, study_ids: Sequence[str] | None) -> Sequence[sa.Row[Any]]:
    """Active studies a claim may get a trial from, highest priority first, then the oldest."""
    query = _CLAIMABLE if study_ids is None else _CLAIMABLE.where(study.c.id.in_(study_ids))
    return connection.execute(query).all()


def next_enqueued(connection: sa.Connection, study_id: str) -> sa.Row[Any] | None:
    """The configuration to try next: highest priority, then first come."""
    return connection.execute(_ENQUEUED, {"study": study_id}).first()


def num_enqueued(connection: sa.Connection, study_id: str, *, at_least: int) -> int:
    """Configurations still in the queue whose priority is `at_least` so high."""
    query = sa.select(sa.func.count()).where(
        enqueued.c.study_id == study_id, enqueued.c.trial_id.is_(None), enqueued.c.priority >= at_least
    )
    return connection.execute(query).scalar_one()
