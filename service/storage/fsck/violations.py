"""Queries for rows that violate an invariant, named by study, trial and attempt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import sqlalchemy as sa

from service.storage.tables import attempt, study, trial

Violation: TypeAlias = dict[str, Any]
"""A row that violates an invariant, identified by names."""


def violations_of(*queries: sa.Select[Any]) -> Callable[[sa.Connection], list[Violation]]:
    """Return a function that runs the queries and returns the rows that they find."""

    def broken(connection: sa.Connection) -> list[Violation]:
        return [dict(row) for query in queries for row in connection.execute(query).mappings()]

    return broken


def of_studies(*columns: Any) -> sa.Select[Any]:
    """Select studies by name, without deleted ones, whose rows are being removed; the caller adds a condition."""
    return sa.select(study.c.name.label("study"), *columns).where(study.c.deleted_at.is_(None))


def of_trials(*columns: Any) -> sa.Select[Any]:
    """Select trials by study and number; the caller adds a condition."""
    columns = (trial.c.number.label("trial"), *columns)
    return of_studies(*columns).select_from(trial.join(study, study.c.id == trial.c.study_id))


def of_attempts(*columns: Any) -> sa.Select[Any]:
    """Select attempts by study, trial and number; the caller adds a condition."""
    named = of_studies(trial.c.number.label("trial"), attempt.c.number.label("attempt"), *columns)
    joined = attempt.join(trial, trial.c.id == attempt.c.trial_id).join(study, study.c.id == trial.c.study_id)
    return named.select_from(joined)
