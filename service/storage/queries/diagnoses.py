"""Queries for diagnoses: which studies and trials must be judged, and what is stored about them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from service.contract.trial import TrialKind
from service.storage.queries.studies import IS_THERE
from service.storage.tables import attempt, report, study, study_diagnosis, trial, trial_diagnosis, worker

_has_changed = study.c.revision > study_diagnosis.c.judged_revision
_is_of_other_rules = study_diagnosis.c.rules != sa.bindparam("rules")
_DUE = (
    sa.select(study.c.id)
    .select_from(study.outerjoin(study_diagnosis, study_diagnosis.c.study_id == study.c.id))
    .where(
        IS_THERE,
        study.c.archived_at.is_(None),
        sa.or_(
            study_diagnosis.c.study_id.is_(None),
            sa.and_(_has_changed, ~_is_of_other_rules, study_diagnosis.c.judged_at <= sa.bindparam("before")),
            sa.and_(_is_of_other_rules, study_diagnosis.c.judged_at <= sa.bindparam("abandoned_before")),
        ),
    )
    .order_by(sa.func.coalesce(study_diagnosis.c.judged_at, 0), study.c.created_at, study.c.id)
    .limit(sa.bindparam("limit"))
)
_is_of_study = sa.and_(trial.c.study_id == sa.bindparam("study"), trial.c.kind == TrialKind.SEARCH)
_with_diagnosis = trial.outerjoin(trial_diagnosis, trial_diagnosis.c.trial_id == trial.c.id)
_is_unjudged = sa.or_(
    trial_diagnosis.c.trial_id.is_(None),
    trial_diagnosis.c.trial_revision < trial.c.revision,
    trial_diagnosis.c.rules != sa.bindparam("rules"),
)
_UNJUDGED = (
    sa.select(trial)
    .select_from(_with_diagnosis)
    .where(_is_of_study, trial.c.revision > sa.bindparam("since"), _is_unjudged)
    .order_by(trial.c.revision, trial.c.number)
    .limit(sa.bindparam("limit"))
)
_NUM_UNJUDGED = sa.select(sa.func.count()).select_from(_with_diagnosis).where(_is_of_study, _is_unjudged)
_of_key = trial_diagnosis.c.trial_id, trial_diagnosis.c.trial_revision, trial_diagnosis.c.rules
_KEYS: sa.Select[Any] = sa.select(*_of_key).where(
    trial_diagnosis.c.trial_id.in_(sa.bindparam("trials", expanding=True))
)
_JUDGED: sa.Select[Any] = (
    sa.select(trial.c.number, *_of_key)
    .select_from(trial_diagnosis.join(trial, trial.c.id == trial_diagnosis.c.trial_id))
    .where(trial_diagnosis.c.study_id == sa.bindparam("study"))
)
_host = sa.case((worker.c.host != "", worker.c.host), else_=attempt.c.worker)


def due(connection: sa.Connection, rules: str, *, before: int, abandoned_before: int, limit: int) -> list[str]:
    """Return the ids of the studies to judge, those first that have waited longest.

    Args:
        connection: an open connection.
        rules: the version of this replica's rules.
        before: leave out studies that were judged by these rules after this instant.
        abandoned_before: leave out studies that were judged by other rules after this instant: another replica, which
            has those rules, looks after them.
        limit: the largest number of studies.
    """
    given = {"rules": rules, "before": before, "abandoned_before": abandoned_before, "limit": limit}
    return list(connection.execute(_DUE, given).scalars())


def of_study(connection: sa.Connection, study_id: str) -> sa.Row[Any] | None:
    """Return the stored diagnosis of a study."""
    query = sa.select(study_diagnosis).where(study_diagnosis.c.study_id == study_id)
    return connection.execute(query).one_or_none()


def of_trial(connection: sa.Connection, trial_id: str) -> sa.Row[Any] | None:
    """Return the stored diagnosis of a trial."""
    query = sa.select(trial_diagnosis).where(trial_diagnosis.c.trial_id == trial_id)
    return connection.execute(query).one_or_none()


def of_trials(connection: sa.Connection, trial_ids: Iterable[str]) -> Sequence[sa.Row[Any]]:
    """Return the stored diagnoses of these trials."""
    return connection.execute(sa.select(trial_diagnosis).where(trial_diagnosis.c.trial_id.in_(list(trial_ids)))).all()


def keys_of(connection: sa.Connection, trial_ids: Iterable[str]) -> Sequence[sa.Row[Any]]:
    """Return rows (trial_id, trial_revision, rules) of the stored diagnoses of these trials."""
    return connection.execute(_KEYS, {"trials": list(trial_ids)}).all()


def judged(connection: sa.Connection, study_id: str) -> Sequence[sa.Row[Any]]:
    """Return rows (number, trial_id, trial_revision, rules) of the study's trials with a stored diagnosis."""
    return connection.execute(_JUDGED, {"study": study_id}).all()


def unjudged(connection: sa.Connection, study_id: str, rules: str, since: int, limit: int) -> Sequence[sa.Row[Any]]:
    """Return search trials without a diagnosis of their current revision by these rules, the longest unchanged first.

    Args:
        connection: an open connection.
        study_id: the study.
        rules: the version of the rules.
        since: a revision up to which all trials were judged by these rules.
        limit: the largest number of trials.
    """
    given = {"study": study_id, "rules": rules, "since": since, "limit": limit}
    return connection.execute(_UNJUDGED, given).all()


def num_unjudged(connection: sa.Connection, study_id: str, rules: str) -> int:
    """Return the number of search trials without a diagnosis of their current revision by these rules."""
    return connection.execute(_NUM_UNJUDGED, {"study": study_id, "rules": rules}).scalar_one()


def num_values(connection: sa.Connection, trial_ids: Iterable[str]) -> dict[str, int]:
    """Return the number of stored values of each trial that has any."""
    query = (
        sa.select(report.c.trial_id, sa.func.count().label("num"))
        .where(report.c.trial_id.in_(list(trial_ids)))
        .group_by(report.c.trial_id)
    )
    return {row.trial_id: row.num for row in connection.execute(query)}


def attempts_since(connection: sa.Connection, study_id: str, since: int) -> Sequence[sa.Row[Any]]:
    """Return the attempts of search trials that changed after a revision, with their hosts, by trial and number."""
    query: sa.Select[Any] = (
        sa.select(
            attempt.c.trial_id,
            trial.c.number.label("trial"),
            attempt.c.failure,
            attempt.c.message,
            attempt.c.resume_step,
            attempt.c.last_step,
            attempt.c.started_at,
            attempt.c.ended_at,
            _host.label("host"),
        )
        .select_from(
            trial.join(attempt, attempt.c.trial_id == trial.c.id).outerjoin(worker, worker.c.name == attempt.c.worker)
        )
        .where(trial.c.study_id == study_id, trial.c.kind == TrialKind.SEARCH, trial.c.revision > since)
        .order_by(trial.c.number, attempt.c.number)
    )
    return connection.execute(query).all()


def finals_since(connection: sa.Connection, study_id: str, since: int) -> Sequence[sa.Row[Any]]:
    """Return rows (id, number, state, metrics) of the search trials that changed after a revision."""
    finals: sa.Select[Any] = sa.select(trial.c.id, trial.c.number, trial.c.state, trial.c.metrics)
    query = finals.where(trial.c.study_id == study_id, trial.c.kind == TrialKind.SEARCH, trial.c.revision > since)
    return connection.execute(query).all()
