"""Rows that break an invariant: how they are asked for, named by study, trial and attempt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import sqlalchemy as sa

from service.storage.tables import attempt, study, trial

Finding: TypeAlias = dict[str, Any]
"""A row that breaks an invariant: what it is about, by name."""


def found_by(*queries: sa.Select[Any]) -> Callable[[sa.Connection], list[Finding]]:
    """What the queries find."""

    def broken(connection: sa.Connection) -> list[Finding]:
        return [dict(row) for query in queries for row in connection.execute(query).mappings()]

    return broken


def of_studies(*columns: Any) -> sa.Select[Any]:
    """Studies that a condition added later picks, by name; not those that were deleted, whose rows are going."""
    return sa.select(study.c.name.label("study"), *columns).where(study.c.deleted_at.is_(None))


def of_trials(*columns: Any) -> sa.Select[Any]:
    """Trials that a condition added later picks, by study and number."""
    columns = (trial.c.number.label("trial"), *columns)
    return of_studies(*columns).select_from(trial.join(study, study.c.id == trial.c.study_id))


def of_attempts(*columns: Any) -> sa.Select[Any]:
    """Attempts that a condition added later picks, by study, trial and number."""
    named = of_studies(trial.c.number.label("trial"), attempt.c.number.label("attempt"), *columns)
    joined = attempt.join(trial, trial.c.id == attempt.c.trial_id).join(study, study.c.id == trial.c.study_id)
    return named.select_from(joined)
