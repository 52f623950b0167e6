"""Queries for preflights: a study's newest one, and whether one is open."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter

from service.contract.preflight import Baseline
from service.contract.trial import TrialKind, TrialState
from service.domain.states import OPEN_TRIALS
from service.storage.tables import attempt, trial

# A preflight has no number. The index of numbers then finds it among any number of search trials.
_PREFLIGHTS = sa.and_(
    trial.c.study_id == sa.bindparam("study"), trial.c.number.is_(None), trial.c.kind == TrialKind.PREFLIGHT
)
_BASELINES = TypeAdapter(list[Baseline])
_NEWEST = sa.select(trial).where(_PREFLIGHTS).order_by(trial.c.created_at.desc(), trial.c.id).limit(1)
_NUM_OPEN = sa.select(sa.func.count()).where(
    _PREFLIGHTS,
    trial.c.state.in_(sorted(OPEN_TRIALS)),
)

_OUTCOMES = (
    sa.select(attempt.c.outcome)
    .join(trial, attempt.c.trial_id == trial.c.id)
    .where(_PREFLIGHTS, trial.c.state == TrialState.COMPLETED)
    .order_by(trial.c.created_at.desc(), trial.c.id, attempt.c.number.desc())
    .limit(1)
)


def newest(connection: sa.Connection, study_id: str) -> sa.Row[Any] | None:
    """Return the trial of the study's newest preflight."""
    return connection.execute(_NEWEST, {"study": study_id}).one_or_none()


def has_open(connection: sa.Connection, study_id: str) -> bool:
    """Return whether a preflight of the study waits or runs."""
    return connection.execute(_NUM_OPEN, {"study": study_id}).scalar_one() > 0


def last_attempt(connection: sa.Connection, trial_id: str) -> sa.Row[Any] | None:
    """Return the newest attempt of a preflight."""
    query = sa.select(attempt).where(attempt.c.trial_id == trial_id).order_by(attempt.c.number.desc()).limit(1)
    return connection.execute(query).one_or_none()


def newest_result(connection: sa.Connection, study_id: str) -> dict[str, Any] | None:
    """Return what the study's newest completed preflight found, as stored; None: there is none."""
    outcome = connection.execute(_OUTCOMES, {"study": study_id}).scalar_one_or_none()
    return outcome.get("preflight") if isinstance(outcome, dict) else None


def baselines(connection: sa.Connection, study_id: str) -> list[Baseline]:
    """Return the baselines of the study's newest completed preflight; empty if there are none, or they are damaged."""
    try:
        return _BASELINES.validate_python((newest_result(connection, study_id) or {})["baselines"])
    except (LookupError, TypeError, ValueError):
        return []
