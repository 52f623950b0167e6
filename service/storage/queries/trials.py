"""Trials and their attempts: find, list what changed, and the best one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from service.contract.base import Direction
from service.contract.lease import FailureClass
from service.contract.trial import TrialKind, TrialState
from service.storage.tables import attempt, study, trial

_NUMBER = re.compile(r"[0-9]{1,9}")

# Statements of the paths that every claim and report takes are built once: building costs more than executing.
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
    """The trial of that id."""
    return connection.execute(_BY_ID, {"id": trial_id}).one_or_none()


def by_number(connection: sa.Connection, study_id: str, number: int) -> sa.Row[Any] | None:
    """The search trial of that number."""
    return connection.execute(_BY_NUMBER, {"study": study_id, "number": number}).one_or_none()


def find(connection: sa.Connection, study_id: str, key: str) -> sa.Row[Any] | None:
    """The study's trial of that number, or of that id: forks have no number."""
    row = by_number(connection, study_id, int(key)) if _NUMBER.fullmatch(key) else by_id(connection, key)
    return row if row is not None and row.study_id == study_id else None


def forks(connection: sa.Connection, study_id: str) -> Sequence[sa.Row[Any]]:
    """The forks of the study's trials, the first one first."""
    query = sa.select(trial).where(trial.c.study_id == study_id, trial.c.kind == TrialKind.FORK)
    return connection.execute(query.order_by(trial.c.created_at, trial.c.id)).all()


def title(row: sa.Row[Any]) -> str:
    """How a trial is called: by its number, or by its id where it has none."""
    return f"trial {row.id if row.number is None else row.number}"


def changed(connection: sa.Connection, study_id: str, since: int, limit: int | None = None) -> Sequence[sa.Row[Any]]:
    """Search trials whose row moved after revision `since`.

    In the order of their revisions, at most about `limit`, and never part of a revision only: so that a limited
    answer can be continued from its last revision.
    """
    given = {"study": study_id, "since": since}
    # One more than asked for tells whether the answer ends with its last revision.
    rows = connection.execute(_CHANGED.limit(limit + 1) if limit is not None else _CHANGED, given).all()
    if limit is None or len(rows) <= limit:
        return rows
    whole = [row for row in rows if row.revision < rows[-1].revision]
    return whole or connection.execute(_CHANGED.where(trial.c.revision == rows[0].revision), given).all()


def best(connection: sa.Connection, study_id: str, direction: Direction) -> sa.Row[Any] | None:
    """The completed search trial with the best value; the earliest of equals."""
    return next(iter(best_of(connection, study_id, direction, 1)), None)


def best_of(connection: sa.Connection, study_id: str, direction: Direction, num: int) -> Sequence[sa.Row[Any]]:
    """The `num` completed search trials with the best values, the best first; the earlier of equals."""
    order = trial.c.value.desc() if direction == "maximize" else trial.c.value.asc()
    query = (
        sa.select(trial)
        .where(
            trial.c.study_id == study_id,
            trial.c.state == TrialState.COMPLETED,
            trial.c.kind == TrialKind.SEARCH,
            trial.c.value.is_not(None),
        )
        .order_by(order, trial.c.number)
        .limit(num)
    )
    return connection.execute(query).all()


def completed(connection: sa.Connection, study_id: str) -> Sequence[sa.Row[Any]]:
    """Rows (id, number, values, finished_at) of the completed search trials, in the order of their numbers."""
    return connection.execute(_COMPLETED, {"study": study_id}).all()


def of_ids(connection: sa.Connection, ids: Iterable[str]) -> Sequence[sa.Row[Any]]:
    """The search trials of those ids, in the order of their numbers."""
    query = sa.select(trial).where(trial.c.id.in_(list(ids)), trial.c.number.is_not(None))
    return connection.execute(query.order_by(trial.c.number)).all()


def in_states(connection: sa.Connection, study_id: str, states: Iterable[TrialState]) -> Sequence[sa.Row[Any]]:
    """Trials of any kind in one of `states`, highest priority first, then the oldest."""
    return connection.execute(_IN_STATES, {"study": study_id, "states": sorted(states)}).all()


def stages_made(connection: sa.Connection, study_id: str) -> Sequence[tuple[int, int]]:
    """Each stage that trials of a study are of, with each version of the spec that these were made by."""
    query = sa.select(trial.c.stage, trial.c.spec_version).where(
        trial.c.study_id == study_id, trial.c.stage.is_not(None)
    )
    return [
        (row.stage, row.spec_version) for row in connection.execute(query.distinct().order_by(*query.selected_columns))
    ]


def waiting_after_shortage(connection: sa.Connection) -> Sequence[sa.Row[Any]]:
    """Waiting trials of any study of which an attempt ran out of memory."""
    ran_out = sa.exists().where(attempt.c.trial_id == trial.c.id, attempt.c.failure == FailureClass.OUT_OF_MEMORY)
    is_there = sa.exists().where(study.c.id == trial.c.study_id, study.c.deleted_at.is_(None))
    query = sa.select(trial).where(trial.c.state == TrialState.WAITING, trial.c.num_attempts > 0, ran_out, is_there)
    return connection.execute(query.order_by(trial.c.study_id, trial.c.number)).all()


def attempts(connection: sa.Connection, trial_id: str) -> Sequence[sa.Row[Any]]:
    """All attempts of a trial, the first one first."""
    query = sa.select(attempt).where(attempt.c.trial_id == trial_id).order_by(attempt.c.number)
    return connection.execute(query).all()


def attempt_of(connection: sa.Connection, trial_id: str, number: int) -> sa.Row[Any] | None:
    """One attempt."""
    return connection.execute(_ATTEMPT, {"trial": trial_id, "number": number}).one_or_none()
