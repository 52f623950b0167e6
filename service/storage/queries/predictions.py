"""Queries for predictions: for which trials they are kept, and where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from service.contract.predictions import NUM_KEPT
from service.contract.study import StudySpec
from service.contract.trial import TrialKind, TrialState
from service.storage.queries import pareto, studies, trials
from service.storage.tables import artifact, study, trial

KIND = "predictions"
_is_told = sa.and_(artifact.c.trial_id == trial.c.id, artifact.c.kind == KIND)


def kept_for(connection: sa.Connection, study_id: str, spec: StudySpec) -> set[str]:
    """Return the ids of the trials whose predictions are kept.

    These are the best trials, or with several objectives the Pareto front, and all completed forks. A trial that is not
    among them never will be, because values of completed trials do not change.
    """
    if len(spec.objectives) > 1:
        best: Iterable[sa.Row[Any]] = pareto.of_study(connection, study_id, spec.directions)[0]
    else:
        best = trials.best_of(connection, study_id, spec, NUM_KEPT)
    beside = sa.select(trial.c.id).where(
        trial.c.study_id == study_id, trial.c.state == TrialState.COMPLETED, trial.c.kind != TrialKind.SEARCH
    )
    return {row.id for row in best} | set(connection.execute(beside).scalars())


def of_trial(connection: sa.Connection, trial_id: str) -> sa.Row[Any] | None:
    """Return a trial's predictions as an artifact; there is at most one, of the attempt that completed the trial."""
    query = sa.select(artifact).where(artifact.c.trial_id == trial_id, artifact.c.kind == KIND)
    return connection.execute(query).one_or_none()


def of_study(connection: sa.Connection, study_id: str, spec: StudySpec) -> Sequence[sa.Row[Any]]:
    """Return the artifacts of the trials whose predictions are kept, with their `number` and `values`; forks last."""
    query = (
        sa.select(artifact, trial.c.number, trial.c["values"])
        .join(trial, _is_told)
        .where(artifact.c.study_id == study_id)
        .order_by(trial.c.number.is_(None), trial.c.number, trial.c.created_at)
    )
    kept = kept_for(connection, study_id, spec)
    return [row for row in connection.execute(query) if row.trial_id in kept]


def wanted(connection: sa.Connection, damaged: set[str]) -> set[str]:
    """Return the SHA-256 of the predictions to keep, of all studies.

    The projects of studies whose spec cannot be read are added to `damaged`.
    """
    query = sa.select(study.c.id, study.c.project, study.c.spec_version).where(
        studies.IS_THERE, sa.exists().where(artifact.c.study_id == study.c.id, artifact.c.kind == KIND)
    )
    hashes: set[str] = set()
    for found in connection.execute(query).all():
        if (spec := studies.spec_if_readable(connection, found.id, found.spec_version)) is None:
            damaged.add(found.project)
        else:
            hashes |= {row.sha256 for row in of_study(connection, found.id, spec)}
    return hashes
