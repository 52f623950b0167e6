"""Invariants of deleted studies: none of their trials is running, and no row refers to a removed study or trial."""

from __future__ import annotations

import sqlalchemy as sa

from service.contract.trial import AttemptState, TrialState
from service.storage.fsck.violations import Violation
from service.storage.removal import OF_STUDIES, OF_TRIALS
from service.storage.tables import attempt, lease, study, trial


def at_work_when_deleted(connection: sa.Connection) -> list[Violation]:
    """Return running trials, running attempts and leases of deleted studies."""
    deleted = sa.select(study.c.id).where(study.c.deleted_at.is_not(None))
    queries = (
        sa.select(trial.c.study_id, sa.literal("trial").label("table"), trial.c.id).where(
            trial.c.state == TrialState.RUNNING, trial.c.study_id.in_(deleted)
        ),
        sa.select(attempt.c.study_id, sa.literal("attempt").label("table"), attempt.c.trial_id.label("id")).where(
            attempt.c.state == AttemptState.RUNNING, attempt.c.study_id.in_(deleted)
        ),
        sa.select(lease.c.study_id, sa.literal("lease").label("table"), lease.c.trial_id.label("id")).where(
            lease.c.study_id.in_(deleted)
        ),
    )
    return [dict(row) for query in queries for row in connection.execute(query).mappings()]


def ownerless(connection: sa.Connection) -> list[Violation]:
    """Return the tables with rows of a missing study or trial, and the number of such rows."""
    found: list[Violation] = []
    for table in (*OF_TRIALS, *OF_STUDIES, trial):
        owners = [table.c.study_id.not_in(sa.select(study.c.id))] if "study_id" in table.c else []
        if table in OF_TRIALS:
            owners.append(table.c.trial_id.not_in(sa.select(trial.c.id)))
        num = connection.execute(sa.select(sa.func.count()).select_from(table).where(sa.or_(*owners))).scalar_one()
        if num:
            found.append({"table": table.name, "rows": num})
    return found
