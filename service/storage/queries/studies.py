"""Queries for studies: find one, list them, count their trials, and select those that a claim may use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from service.contract.study import StudySpec, StudyState
from service.contract.trial import TrialState
from service.domain.errors import DamagedRowError
from service.domain.states import OPEN_TRIALS
from service.storage.damage import reading
from service.storage.tables import enqueued_trial, study, study_spec, trial

# Statements that every claim and report runs are built once, because building costs more than executing.
IS_THERE = study.c.deleted_at.is_(None)
"""Condition that a study is not deleted; the rows of deleted studies are being removed."""

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
    sa.select(enqueued_trial)
    .where(enqueued_trial.c.study_id == sa.bindparam("study"), enqueued_trial.c.trial_id.is_(None))
    .order_by(enqueued_trial.c.priority.desc(), enqueued_trial.c.revision)
    .limit(1)
)


def by_id(connection: sa.Connection, study_id: str) -> sa.Row[Any]:
    """Return the study with this id, which must exist or have been deleted a moment ago."""
    return connection.execute(_BY_ID, {"id": study_id}).one()


def find(connection: sa.Connection, name_or_id: str) -> sa.Row[Any] | None:
    """Return the study with this id, or with this name in the default project (or with "project/name")."""
    found = connection.execute(_FOUND, {"id": name_or_id}).one_or_none()
    if found is not None:
        return found
    return find_named(connection, "default", name_or_id)


def find_named(connection: sa.Connection, project: str, name: str) -> sa.Row[Any] | None:
    """Return the study with this name in `project`; a name "other/name" selects project `other`."""
    named, _, name = name.rpartition("/")
    return connection.execute(_BY_NAME, {"project": named or project, "name": name}).one_or_none()


def ids(connection: sa.Connection) -> list[str]:
    """Return the ids of all studies, including archived ones."""
    query = sa.select(study.c.id).where(IS_THERE).order_by(study.c.created_at, study.c.id)
    return list(connection.execute(query).scalars())


def deleted(connection: sa.Connection, before: int) -> list[str]:
    """Return the ids of studies that were deleted before an instant and still have rows; the earliest deleted first."""
    query = sa.select(study.c.id).where(study.c.deleted_at < before).order_by(study.c.deleted_at, study.c.id)
    return list(connection.execute(query).scalars())


def names(connection: sa.Connection) -> list[str]:
    """Return the names of all studies that are not archived, newest first."""
    query = sa.select(study.c.name).where(_is_listed).order_by(study.c.created_at.desc())
    return list(connection.execute(query).scalars())


def names_in(connection: sa.Connection, project: str) -> set[str]:
    """Return the names of a project's studies, including archived ones."""
    query = sa.select(study.c.name).where(IS_THERE, study.c.project == project)
    return set(connection.execute(query).scalars())


def all_of(connection: sa.Connection) -> Sequence[sa.Row[Any]]:
    """Return all studies that are not archived, newest first."""
    query = sa.select(study).where(_is_listed).order_by(study.c.created_at.desc(), study.c.id)
    return connection.execute(query).all()


def spec(connection: sa.Connection, study_id: str, version: int) -> StudySpec:
    """Return one version of a study's spec.

    Raises:
        DamagedRowError: The version is missing or cannot be read.
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
    """Return one version of a study's spec, or None if the stored one is damaged."""
    try:
        return spec(connection, study_id, version)
    except DamagedRowError:
        return None


def revisions(connection: sa.Connection) -> dict[str, tuple[int, str]]:
    """Return the revision and state of each study that is not archived, by study id."""
    query = sa.select(study.c.id, study.c.revision, study.c.state).where(_is_listed)
    return {row.id: (row.revision, row.state) for row in connection.execute(query)}


def num_open(connection: sa.Connection, study_id: str) -> int:
    """Return the number of a study's trials that can still change state."""
    return connection.execute(_NUM_OPEN, {"study": study_id}).scalar_one()


def num_awaited(connection: sa.Connection, study_id: str) -> int:
    """Return the number of a study's waiting and running trials, which change state without a further decision."""
    return connection.execute(_NUM_AWAITED, {"study": study_id}).scalar_one()


def claimable(connection: sa.Connection, study_ids: Sequence[str] | None) -> Sequence[sa.Row[Any]]:
    """Return the active studies a claim may use, highest priority first, then oldest first."""
    query = _CLAIMABLE if study_ids is None else _CLAIMABLE.where(study.c.id.in_(study_ids))
    return connection.execute(query).all()


def next_enqueued(connection: sa.Connection, study_id: str) -> sa.Row[Any] | None:
    """Return the configuration to try next: highest priority first, then oldest first."""
    return connection.execute(_ENQUEUED, {"study": study_id}).first()


def enqueued(connection: sa.Connection, study_id: str) -> list[dict[str, Any]]:
    """Return the configurations that wait in a study's queue, oldest first."""
    query = sa.select(enqueued_trial.c.parameters).where(
        enqueued_trial.c.study_id == study_id, enqueued_trial.c.trial_id.is_(None)
    )
    return list(connection.execute(query.order_by(enqueued_trial.c.revision)).scalars())


def num_enqueued(connection: sa.Connection, study_id: str, *, at_least: int) -> int:
    """Return how many enqueued configurations have a priority of `at_least` or higher."""
    query = sa.select(sa.func.count()).where(
        enqueued_trial.c.study_id == study_id,
        enqueued_trial.c.trial_id.is_(None),
        enqueued_trial.c.priority >= at_least,
    )
    return connection.execute(query).scalar_one()
