"""Queries for prior trials: trials of other studies that a warm start uses, stored as they were when it began."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from service.contract.base import Value
from service.contract.trial import TrialKind, TrialState
from service.domain.history import TrialRecord
from service.domain.states import OPEN_TRIALS
from service.storage.tables import prior_trial, trial

_OF_STUDY = (
    sa.select(prior_trial).where(prior_trial.c.study_id == sa.bindparam("study")).order_by(prior_trial.c.ordinal)
)


def of_study(connection: sa.Connection, study_id: str) -> tuple[TrialRecord, ...]:
    """Return the study's prior trials in their order, with negative numbers up to -1."""
    rows = connection.execute(_OF_STUDY, {"study": study_id}).all()
    return tuple(record(at - len(rows), row.trial_id, row.parameters, row.value) for at, row in enumerate(rows))


def record(number: int, trial_id: str, parameters: Mapping[str, Value], value: float) -> TrialRecord:
    """Return a completed trial as a prior trial, with its id in the notes."""
    return TrialRecord(number, TrialState.COMPLETED, parameters, value=value, notes={"trial": trial_id})


def ended(connection: sa.Connection, study_id: str) -> Sequence[sa.Row[Any]]:
    """Return all ended search trials of a study by number, as candidates for prior trials of another study."""
    columns = (
        trial.c.id,
        trial.c.number,
        trial.c.state,
        trial.c.parameters,
        trial.c.value,
        trial.c.run_until,
        trial.c.stage,
    )
    query: sa.Select[Any] = sa.select(*columns).where(
        trial.c.study_id == study_id, trial.c.kind == TrialKind.SEARCH, trial.c.state.not_in(sorted(OPEN_TRIALS))
    )
    return connection.execute(query.order_by(trial.c.number)).all()
