"""Queries for trials and their attempts: find one, list changed ones, and the best one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from service.contract.attempt import FailureClass
from service.contract.study import StudySpec
from service.contract.trial import TrialKind, TrialState
from service.domain.other_data import stages_on_other_data
from service.storage.tables import attempt, study, trial

_NUMBER = re.compile(r"[0-9]{1,9}")

# Statements that every claim and report runs are built once, because building costs more than executing.
_BY_ID = sa.select(trial).where(trial.c.id == sa.bindparam("id"))
_BY_NUMBER = sa.select(trial).where(trial.c.study_id == sa.bindparam("study"), trial.c.number == sa.bindparam("number"))
_CHANGED = (
    sa.select(trial)
    .where(
        trial.c.study_id == sa.bindparam("study"),
        trial.c.revision > sa.bindparam("since"),
        trial.c.kind == TrialKind.SEARCH,
    )
    .order_by(trial.c.revision, trial.c.number)
)
_IN_STATES = (
    sa.select(trial)
    .where(trial.c.study_id == sa.bindparam("study"), trial.c.state.in_(sa.bindparam("states", expanding=True)))
    .order_by(trial.c.priority.desc(), trial.c.created_at, trial.c.number)
)
_COMPLETED: sa.Select[Any] = (
    sa.select(trial.c.id, trial.c.number, trial.c["values"], trial.c.finished_at)
    .where(
        trial.c.study_id == sa.bindparam("study"),
        trial.c.state == TrialState.COMPLETED,
        trial.c.kind == TrialKind.SEARCH,
        trial.c.value.is_not(None),
    )
    .order_by(trial.c.number)
)
_ATTEMPT = sa.select(attempt).where(
    attempt.c.trial_id == sa.bindparam("trial"), attempt.c.number == sa.bindparam("number")
)


def by_id(connection: sa.Connection, trial_id: str) -> sa.Row[Any] | None:
    """Return the trial with this id."""
    return connection.execute(_BY_ID, {"id": trial_id}).one_or_none()


def by_number(connection: sa.Connection, study_id: str, number: int) -> sa.Row[Any] | None:
    """Return the search trial with this number."""
    return connection.execute(_BY_NUMBER, {"study": study_id, "number": number}).one_or_none()


def find(connection: sa.Connection, study_id: str, key: str) -> sa.Row[Any] | None:
    """Return the study's trial with this number or id; forks have only an id."""
    row = by_number(connection, study_id, int(key)) if _NUMBER.fullmatch(key) else by_id(connection, key)
    return row if row is not None and row.study_id == study_id else None


def forks(connection: sa.Connection, study_id: str) -> Sequence[sa.Row[Any]]:
    """Return the forks of the study's trials, oldest first."""
    query = sa.select(trial).where(trial.c.study_id == study_id, trial.c.kind == TrialKind.FORK)
    return connection.execute(query.order_by(trial.c.created_at, trial.c.id)).all()


def title(row: sa.Row[Any]) -> str:
    """Return the name of a trial for messages: its number, or its id if it has none."""
    return f"trial {row.id if row.number is None else row.number}"


def changed(connection: sa.Connection, study_id: str, since: int, limit: int | None = None) -> Sequence[sa.Row[Any]]:
    """Return the search trials that changed after revision `since`, ordered by revision.

    With `limit`, return at most about that many, and never only part of a revision, so that the caller can continue
    from the last revision.
    """
    given = {"study": study_id, "since": since}
    # One row more than requested shows whether the list ends with its last revision.
    rows = connection.execute(_CHANGED.limit(limit + 1) if limit is not None else _CHANGED, given).all()
    if limit is None or len(rows) <= limit:
        return rows
    whole = [row for row in rows if row.revision < rows[-1].revision]
    return whole or connection.execute(_CHANGED.where(trial.c.revision == rows[0].revision), given).all()


def best(connection: sa.Connection, study_id: str, spec: StudySpec) -> sa.Row[Any] | None:
    """Return the completed search trial with the best value; ties as in `best_of`."""
    return next(iter(best_of(connection, study_id, spec, 1)), None)


def best_of(connection: sa.Connection, study_id: str, spec: StudySpec, num: int) -> Sequence[sa.Row[Any]]:
    """Return the `num` completed search trials with the best values, best first.

    Of equal values, the one with the lowest plain loss comes first, and of equal losses the lowest number.
    Trials of stages on other data are left out.
    """
    order = trial.c.value.desc() if spec.primary_objective.direction == "maximize" else trial.c.value.asc()
    left_out = sorted(stages_on_other_data(spec))
    is_comparable = [trial.c.stage.is_(None) | trial.c.stage.not_in(left_out)] if left_out else []
    query = (
        sa.select(trial)
        .where(
            trial.c.study_id == study_id,
            trial.c.state == TrialState.COMPLETED,
            trial.c.kind == TrialKind.SEARCH,
            trial.c.value.is_not(None),
            *is_comparable,
        )
        .order_by(order, trial.c.tie_break_loss.asc().nulls_last(), trial.c.number)
        .limit(num)
    )
    return connection.execute(query).all()


def completed(connection: sa.Connection, study_id: str) -> Sequence[sa.Row[Any]]:
    """Return rows (id, number, values, finished_at) of the completed search trials, by number."""
    return connection.execute(_COMPLETED, {"study": study_id}).all()


def of_ids(connection: sa.Connection, ids: Iterable[str]) -> Sequence[sa.Row[Any]]:
    """Return the search trials with these ids, by number."""
    query = sa.select(trial).where(trial.c.id.in_(list(ids)), trial.c.number.is_not(None))
    return connection.execute(query.order_by(trial.c.number)).all()


def in_states(connection: sa.Connection, study_id: str, states: Iterable[TrialState]) -> Sequence[sa.Row[Any]]:
    """Return trials of any kind in one of `states`, highest priority first, then oldest first."""
    return connection.execute(_IN_STATES, {"study": study_id, "states": sorted(states)}).all()


def stages_made(connection: sa.Connection, study_id: str) -> Sequence[tuple[int, int]]:
    """Return each distinct (stage, spec version) among the study's trials."""
    query = sa.select(trial.c.stage, trial.c.spec_version).where(
        trial.c.study_id == study_id, trial.c.stage.is_not(None)
    )
    return [
        (row.stage, row.spec_version) for row in connection.execute(query.distinct().order_by(*query.selected_columns))
    ]


def waiting_after_shortage(connection: sa.Connection) -> Sequence[sa.Row[Any]]:
    """Return the waiting trials of any study that had an attempt run out of memory."""
    ran_out = sa.exists().where(attempt.c.trial_id == trial.c.id, attempt.c.failure == FailureClass.OUT_OF_MEMORY)
    is_there = sa.exists().where(study.c.id == trial.c.study_id, study.c.deleted_at.is_(None))
    query = sa.select(trial).where(trial.c.state == TrialState.WAITING, trial.c.num_attempts > 0, ran_out, is_there)
    return connection.execute(query.order_by(trial.c.study_id, trial.c.number)).all()


def attempts(connection: sa.Connection, trial_id: str) -> Sequence[sa.Row[Any]]:
    """Return all attempts of a trial, oldest first."""
    query = sa.select(attempt).where(attempt.c.trial_id == trial_id).order_by(attempt.c.number)
    return connection.execute(query).all()


def attempt_of(connection: sa.Connection, trial_id: str, number: int) -> sa.Row[Any] | None:
    """Return the attempt with this number, or None."""
    return connection.execute(_ATTEMPT, {"trial": trial_id, "number": number}).one_or_none()
