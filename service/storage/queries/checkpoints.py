"""Checkpoints: which of a trial's may be resumed from, and which blobs are still wanted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from service.contract.study import StudySpec
from service.contract.teacher import TEACHER
from service.contract.trial import TrialState
from service.domain.states import FINISHED_STUDIES, OPEN_TRIALS
from service.domain.teachers import teachers_of
from service.storage.queries import fronts, predictions, studies, trials
from service.storage.tables import artifact, attempt, checkpoint, study, study_spec, trial

Place = tuple[int, int]
"""Where training stood: its last whole step, and the batches of the next one that were done."""

_KEPT = 2
"""Newest checkpoints of a trial whose blobs are kept: the older serves where the newer is damaged, or is the end."""

_later = sa.alias(attempt)
_overtaken = (
    sa.exists()
    .where(_later.c.trial_id == checkpoint.c.trial_id, _later.c.number > checkpoint.c.attempt)
    .where(
        sa.or_(
            sa.func.coalesce(_later.c.resume_step, -1) < checkpoint.c.step,
            sa.and_(_later.c.resume_step == checkpoint.c.step, _later.c.resume_batch < checkpoint.c.batch),
        )
    )
)
_ARTIFACTS = sa.select(artifact, checkpoint.c.step, checkpoint.c.batch).join(
    checkpoint, checkpoint.c.artifact_id == artifact.c.id
)
_CANONICAL = _ARTIFACTS.where(checkpoint.c.trial_id == sa.bindparam("trial"), ~_overtaken).order_by(
    checkpoint.c.step.desc(), checkpoint.c.batch.desc(), checkpoint.c.attempt.desc()
)
_AT_PLACE = _ARTIFACTS.where(
    checkpoint.c.trial_id == sa.bindparam("trial"),
    checkpoint.c.step == sa.bindparam("step"),
    checkpoint.c.batch == sa.bindparam("batch"),
)
_OF_ATTEMPT = _AT_PLACE.where(checkpoint.c.attempt == sa.bindparam("attempt"))
_RESUMED = (
    _AT_PLACE.where(checkpoint.c.attempt < sa.bindparam("attempt")).order_by(checkpoint.c.attempt.desc()).limit(1)
)


def canonical(connection: sa.Connection, trial_id: str) -> Sequence[sa.Row[Any]]:
    """A trial's checkpoints as artifacts with their `step` and `batch`, the newest first.

    As in its series, those of older attempts beyond where a later attempt began do not count.
    """
    return connection.execute(_CANONICAL, {"trial": trial_id}).all()


def whole(saved: Iterable[sa.Row[Any]]) -> list[sa.Row[Any]]:
    """Of these checkpoints those of a step's end, from which alone a fork begins."""
    return [each for each in saved if each.batch == 0]


def of_parent(connection: sa.Connection, row: sa.Row[Any]) -> Sequence[sa.Row[Any]]:
    """The checkpoint of its parent that a fork begins with, as an artifact with its place; none for other trials."""
    if row.parent_id is None:
        return []
    query = _ARTIFACTS.where(
        checkpoint.c.trial_id == row.parent_id,
        checkpoint.c.step == row.parent_step,
        artifact.c.sha256 == row.notes["checkpoint"],
    )
    return connection.execute(query.order_by(checkpoint.c.attempt).limit(1)).all()


def beginnings(connection: sa.Connection, row: sa.Row[Any]) -> Sequence[sa.Row[Any]]:
    """What an attempt of a trial may begin with, the best first: its own checkpoints, then that of its parent."""
    return [*canonical(connection, row.id), *of_parent(connection, row)]


def of_teacher(connection: sa.Connection, project: str, name: str) -> sa.Row[Any] | None:
    """The last checkpoint of a whole step of the trial that a study of `project` calls its teacher, as an artifact."""
    named, _, key = name.rpartition("/")
    source = studies.find_named(connection, project, named)
    taught = None if source is None else trials.find(connection, source.id, key)
    return None if taught is None else next(iter(whole(canonical(connection, taught.id))), None)


def unreadable(connection: sa.Connection, trial_id: str) -> set[str]:
    """The uris of checkpoints that an attempt of the trial was to begin with and could not read."""
    query = sa.select(attempt.c.outcome).where(
        attempt.c.trial_id == trial_id, attempt.c.resume_step.is_not(None), attempt.c.outcome.is_not(None)
    )
    # Databases written before `none_as_null` hold the JSON value null, which is not SQL's NULL.
    found = {outcome.get("unreadable") for outcome in connection.execute(query).scalars() if outcome is not None}
    return {uri for uri in found if uri}


def resumed(connection: sa.Connection, trial_id: str, number: int, place: Place) -> sa.Row[Any] | None:
    """The checkpoint of `place` that attempt `number` began with; none: it was its parent's."""
    return connection.execute(_RESUMED, _given(trial_id, number, place)).one_or_none()


def at(connection: sa.Connection, trial_id: str, number: int, place: Place) -> sa.Row[Any] | None:
    """The artifact that is the checkpoint of attempt `number` at `place`."""
    return connection.execute(_OF_ATTEMPT, _given(trial_id, number, place)).one_or_none()


def _given(trial_id: str, number: int, place: Place) -> dict[str, Any]:
    return {"trial": trial_id, "attempt": number, "step": place[0], "batch": place[1]}


def named(place: Place) -> str:
    """A place in words."""
    return f"step {place[0]}" + (f", batch {place[1]}" if place[1] else "")


def registered(connection: sa.Connection) -> set[str]:
    """The SHA-256 of every blob that was ever registered."""
    return set(connection.execute(sa.select(artifact.c.sha256)).scalars())


def wanted(connection: sa.Connection) -> set[str]:
    """The SHA-256 of every blob to keep.

    Those are the newest checkpoints of open trials and the newest of a whole step, what open forks began with, the last
    ones of whole steps of each study's best trial, or of each on its front, those of the teachers of studies that are
    not over, and the predictions of the best. Of a project with a study whose spec cannot be read, which may name
    teachers, all blobs are kept.
    """
    damaged: set[str] = set()
    hashes = predictions.wanted(connection, damaged)
    saved = sa.exists().where(checkpoint.c.trial_id == trial.c.id)
    is_open = sa.and_(
        trial.c.state.in_(sorted(OPEN_TRIALS)),
        sa.exists().where(study.c.id == trial.c.study_id, studies.IS_THERE),
    )
    for trial_id in connection.execute(sa.select(trial.c.id).where(is_open, saved)).scalars():
        saved_last = canonical(connection, trial_id)
        hashes |= {row.sha256 for row in (*saved_last[:_KEPT], *whole(saved_last)[:1])}
    for fork in connection.execute(sa.select(trial).where(is_open, trial.c.parent_id.is_not(None))):
        hashes |= {row.sha256 for row in of_parent(connection, fork)}
    hashes |= {saved.sha256 for saved in _teachers(connection, damaged)}
    completed = sa.select(study.c.id, study.c.project, study.c.spec_version).where(
        studies.IS_THERE,
        sa.exists().where(trial.c.study_id == study.c.id, trial.c.state == TrialState.COMPLETED, saved),
    )
    for row in connection.execute(completed).all():
        if (spec := studies.spec_if_readable(connection, row.id, row.spec_version)) is None:
            damaged.add(row.project)
            continue
        for trial_id in _best(connection, row.id, spec):
            hashes |= {each.sha256 for each in whole(canonical(connection, trial_id))[:_KEPT]}
    return hashes | _of_projects(connection, damaged)


def _of_projects(connection: sa.Connection, projects: set[str]) -> set[str]:
    """The SHA-256 of every blob that was registered for a study of these projects."""
    query = sa.select(artifact.c.sha256).join(study, study.c.id == artifact.c.study_id).where(studies.IS_THERE)
    return set(connection.execute(query.where(study.c.project.in_(sorted(projects)))).scalars())


def _teachers(connection: sa.Connection, damaged: set[str]) -> Iterator[sa.Row[Any]]:
    """The checkpoints that trials of studies which are not over may learn from.

    Projects of studies whose spec cannot be read are added to `damaged`.
    """
    for project, name in {(project, name) for _, _, project, name in teachers_named(connection, damaged)}:
        if (saved := of_teacher(connection, project, name)) is not None:
            yield saved


def teachers_named(connection: sa.Connection, damaged: set[str]) -> Iterator[tuple[str, str, str, str]]:
    """Id, name and project of each study that is not over, with a teacher that its spec or an open fork names.

    Projects of studies whose spec cannot be read are added to `damaged`.
    """
    owner = study.c.id, study.c.name, study.c.project
    going_on = study.c.state.not_in(sorted(FINISHED_STUDIES))
    specs = sa.select(*owner, study_spec.c.version).where(
        studies.IS_THERE, going_on, study_spec.c.study_id == study.c.id
    )
    for row in connection.execute(specs).all():
        if (spec := studies.spec_if_readable(connection, row.id, row.version)) is None:
            damaged.add(row.project)
            continue
        for _, name in teachers_of(spec):
            yield row.id, row.name, row.project, name
    forks = sa.select(*owner, trial.c.parameters).where(
        studies.IS_THERE,
        trial.c.study_id == study.c.id,
        trial.c.state.in_(sorted(OPEN_TRIALS)),
        trial.c.parent_id.is_not(None),
    )
    for row in connection.execute(forks):
        if TEACHER in row.parameters:
            yield row.id, row.name, row.project, row.parameters[TEACHER]


def _best(connection: sa.Connection, study_id: str, spec: StudySpec) -> list[str]:
    """The id of the best trial, where there is one; of several objectives, of all on the front."""
    if len(spec.objectives) > 1:
        return [row.id for row in fronts.of_study(connection, study_id, spec.directions)[0]]
    best = trials.best(connection, study_id, spec.watched.direction)
    return [best.id] if best is not None else []
