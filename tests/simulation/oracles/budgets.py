"""Computes what the budgets of a study still allow, independently of the service."""

from __future__ import annotations

from service.contract.study import StudySpec
from tests.simulation.oracles import database_view


def used_up(study_id: str, spec: StudySpec, now: int) -> bool:
    """Whether by now, as the database is, nothing of the study may begin any more."""
    budget = spec.budget
    ends = database_view.rows(
        "SELECT state, value FROM trial WHERE study_id = ? AND finished_at IS NOT NULL ORDER BY finished_at, number",
        study_id,
    )
    num_failed = sum(state == "failed" for state, _ in ends)
    best, num_since = None, 0
    for state, value in ends:
        if state == "completed" and (best is None or value < best):
            best, num_since = value, 0
        elif state in {"completed", "pruned"} and best is not None:
            num_since += 1
    return (
        (budget.failures is not None and num_failed >= budget.failures)
        or (budget.target is not None and best is not None and best <= budget.target)
        or (budget.no_improvement is not None and num_since >= budget.no_improvement)
        or (budget.hours is not None and _active_seconds(study_id, now) >= budget.hours * 3600)
    )


def _active_seconds(study_id: str, now: int) -> float:
    """How long the study was active since its first trial was made, by its journal."""
    events = database_view.rows("SELECT at, kind FROM journal WHERE study_id = ? ORDER BY revision, ordinal", study_id)
    passed, since, is_active, is_begun = 0, 0, True, False
    for at, kind in events:
        if is_active and is_begun:
            passed += at - since
        since = at
        is_begun |= kind == "trial_created"
        if kind in {"study_paused", "study_completed", "study_stopped"}:
            is_active = False
        elif kind in {"study_resumed", "study_extended"}:
            is_active = True
    return (passed + (now - since if is_active and is_begun else 0)) / 1e6
