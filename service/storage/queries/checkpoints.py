"""Queries for checkpoints: which ones a trial may resume from, and which blobs to keep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from service.contract.study import StudySpec
from service.contract.teacher import TEACHER
from service.contract.trial import TrialState
from service.domain.states import FINISHED_STUDIES, OPEN_TRIALS
from service.domain.teachers import teachers_of
from service.storage.queries import pareto, predictions, studies, trials
from service.storage.tables import artifact, attempt, checkpoint, study, study_spec, trial

Place = tuple[int, int]
"""Training progress: the last whole step, and the number of finished batches of the next step."""

_KEPT = 2
"""Newest checkpoints per trial whose blobs are kept.

The older one serves if the newer is damaged, or if the newer is the end of training, where no fork can begin.
"""

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
    """Return a trial's checkpoints as artifacts with their `step` and `batch`, newest first.

    As in the canonical series, checkpoints of older attempts beyond the point where a later attempt began do not count.
    """
    return connection.execute(_CANONICAL, {"trial": trial_id}).all()


def whole(saved: Iterable[sa.Row[Any]]) -> list[sa.Row[Any]]:
    """Return the checkpoints at the end of a step; a fork may begin only from these."""
    return [each for each in saved if each.batch == 0]


def of_parent(connection: sa.Connection, row: sa.Row[Any]) -> Sequence[sa.Row[Any]]:
    """Return the parent's checkpoint that a fork begins with, as an artifact with its place; empty for other trials."""
    if row.parent_id is None:
        return []
    query = _ARTIFACTS.where(
        checkpoint.c.trial_id == row.parent_id,
        checkpoint.c.step == row.parent_step,
        artifact.c.sha256 == row.notes["checkpoint"],
    )
    return connection.execute(query.order_by(checkpoint.c.attempt).limit(1)).all()


def beginnings(connection: sa.Connection, row: sa.Row[Any]) -> Sequence[sa.Row[Any]]:
    """Return the checkpoints that an attempt of a trial may begin with, best first: its own, then its parent's."""
    return [*canonical(connection, row.id), *of_parent(connection, row)]


def of_teacher(connection: sa.Connection, project: str, name: str) -> sa.Row[Any] | None:
    """Return the last whole-step checkpoint, as an artifact, of the teacher that a study of `project` names."""
    named, _, key = name.rpartition("/")
    source = studies.find_named(connection, project, named)
    row = None if source is None else trials.find(connection, source.id, key)
    return None if row is None else next(iter(whole(canonical(connection, row.id))), None)


def unreadable(connection: sa.Connection, trial_id: str) -> set[str]:
    """Return the URIs of checkpoints that an attempt of the trial was to resume from and could not read."""
    query = sa.select(attempt.c.outcome).where(
        attempt.c.trial_id == trial_id, attempt.c.resume_step.is_not(None), attempt.c.outcome.is_not(None)
    )
    # Databases written before `none_as_null` contain the JSON value null, which is not SQL NULL.
    found = {outcome.get("unreadable") for outcome in connection.execute(query).scalars() if outcome is not None}
    return {uri for uri in found if uri}


def resumed(connection: sa.Connection, trial_id: str, number: int, place: Place) -> sa.Row[Any] | None:
    """Return the checkpoint at `place` that attempt `number` began with; None: it was its parent's."""
    return connection.execute(_RESUMED, _given(trial_id, number, place)).one_or_none()


def at(connection: sa.Connection, trial_id: str, number: int, place: Place) -> sa.Row[Any] | None:
    """Return the checkpoint of attempt `number` at `place`, as an artifact."""
    return connection.execute(_OF_ATTEMPT, _given(trial_id, number, place)).one_or_none()


def _given(trial_id: str, number: int, place: Place) -> dict[str, Any]:
    return {"trial": trial_id, "attempt": number, "step": place[0], "batch": place[1]}


def named(place: Place) -> str:
    """Return a place as text for messages."""
    return f"step {place[0]}" + (f", batch {place[1]}" if place[1] else "")


def registered(connection: sa.Connection) -> set[str]:
    """Return the SHA-256 of every blob that was ever registered."""
    return set(connection.execute(sa.select(artifact.c.sha256)).scalars())


def wanted(connection: sa.Connection) -> set[str]:
    """Return the SHA-256 of every blob to keep.

    These are:

    - the newest checkpoints of each open trial, and its newest one at the end of a step;
    - the checkpoints that open forks began with;
    - the last whole-step checkpoints of each study's best trial, or of every trial on its Pareto front;
    - the checkpoints of the teachers of studies that are not over;
    - the predictions of the best trials.

    A study whose spec cannot be read may name teachers, so all blobs of its project are kept.
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
    """Return the SHA-256 of every blob that was registered for a study of these projects."""
    query = sa.select(artifact.c.sha256).join(study, study.c.id == artifact.c.study_id).where(studies.IS_THERE)
    return set(connection.execute(query.where(study.c.project.in_(sorted(projects)))).scalars())


def _teachers(connection: sa.Connection, damaged: set[str]) -> Iterator[sa.Row[Any]]:
    """Yield the teachers' checkpoints that trials of unfinished studies may use.

    The projects of studies whose spec cannot be read are added to `damaged`.
    """
    for project, name in {(project, name) for _, _, project, name in teachers_named(connection, damaged)}:
        if (saved := of_teacher(connection, project, name)) is not None:
            yield saved


def teachers_named(connection: sa.Connection, damaged: set[str]) -> Iterator[tuple[str, str, str, str]]:
    """Yield (id, name, project, teacher) for each unfinished study and each teacher in its spec or an open fork.

    The projects of studies whose spec cannot be read are added to `damaged`.
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
    """Return the id of the best trial, if there is one; with several objectives, those of the Pareto front."""
    if len(spec.objectives) > 1:
        return [row.id for row in pareto.of_study(connection, study_id, spec.directions)[0]]
    best = trials.best(connection, study_id, spec)
    return [best.id] if best is not None else []
