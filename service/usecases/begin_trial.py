"""Begins trials of every kind: inserts a waiting trial, and records its creation in the journal."""

from __future__ import annotations

from typing import Any

from service.domain.states import TRIAL
from service.storage import tables
from service.storage.queries import trials
from service.storage.tables import Row
from service.storage.unit_of_work import UnitOfWork


def begin_trial(unit_of_work: UnitOfWork, **columns: Any) -> Row:
    """Insert a waiting trial and record its creation in the journal."""
    trial_id = unit_of_work.new_id()
    unit_of_work.insert(
        tables.trial,
        id=trial_id,
        study_id=unit_of_work.study.id,
        state=TRIAL.initial,
        metrics={},
        infeasible=False,
        num_attempts=0,
        num_failures=0,
        num_losses=0,
        created_at=unit_of_work.now(),
        revision=unit_of_work.revision,
        **columns,
    )
    trial = trials.by_id(unit_of_work.connection, trial_id)
    assert trial is not None
    unit_of_work.record("trial_created", trial=trial, data={"reason": trial.suggestion_reason})
    return trial
