"""Lessons: trials of other studies that a study learns from, stored as they were when it began."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from service.contract.base import Value
from service.contract.trial import TrialKind, TrialState
from service.domain.history import TrialRecord
from service.domain.states import OPEN_TRIALS
from service.storage.tables import lesson, trial

_OF_STUDY = sa.select(lesson).where(lesson.c.study_id == sa.bindparam("study")).order_by(lesson.c.ordinal)


def of_study(connection: sa.Connection, study_id: str) -> tuple[TrialRecord, ...]:
    """The study's lessons in their order, numbered from below up to -1."""
    rows = connection.execute(_OF_STUDY, {"study": study_id}).all()
    return tuple(record(at - len(rows), row.trial_id, row.parameters, row.value) for at, row in enumerate(rows))


def record(number: int, trial_id: str, parameters: Mapping[str, Value], value: float) -> TrialRecord:
    """A completed trial as a lesson: its notes say which one it was."""
    return TrialRecord(number, TrialState.COMPLETED, parameters, value=value, notes={"trial": trial_id})


def ended(connection: sa.Connection, study_id: str) -> Sequence[sa.Row[Any]]:
    """All search trials of a study that have ended, by number: what might become a lesson of another."""
    columns = trial.c.id, trial.c.number, trial.c.state, trial.c.parameters, trial.c.value, trial.c.run_until
    query: sa.Select[Any] = sa.select(*columns).where(
        trial.c.study_id == study_id, trial.c.kind == TrialKind.SEARCH, trial.c.state.not_in(sorted(OPEN_TRIALS))
    )
    return connection.execute(query.order_by(trial.c.number)).all()
