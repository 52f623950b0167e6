"""Budget usage that a study's history does not contain: active time and device time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from service.contract.study import StudySpec
from service.contract.trial import TrialKind
from service.domain.budget import BudgetUsage
from service.storage.tables import attempt, trial
from service.storage.timestamps import MICROSECONDS

# Built once, because building costs more than executing, and every claim on a study with a budget of device-hours runs
# it.
_now = sa.bindparam("now", type_=sa.BigInteger)
_until = sa.func.coalesce(attempt.c.ended_at, _now)
# An attempt never has a negative duration, whatever the clock said when it began.
_lasted = sa.case((_until > attempt.c.started_at, _until - attempt.c.started_at), else_=0)
_SPENT = (
    sa.select(attempt.c.study_id, sa.func.sum(_lasted * attempt.c.num_devices))
    .join(trial, trial.c.id == attempt.c.trial_id)
    .where(attempt.c.study_id.in_(sa.bindparam("studies", expanding=True)), trial.c.kind == TrialKind.SEARCH)
    .group_by(attempt.c.study_id)
)


def budget_usage(connection: sa.Connection, study: sa.Row[Any], spec: StudySpec, now: int) -> BudgetUsage:
    """Return what the study has used by `now`; device time is queried only if it has a budget."""
    has_devices = spec.budget.device_hours is not None
    spent = device_seconds(connection, [study.id], now) if has_devices else {}
    return BudgetUsage(active_seconds(study, now), spent.get(study.id, 0.0))


def active_seconds(study: sa.Row[Any], now: int) -> float:
    """Return how long the study has been active since its first trial, in seconds."""
    lasting = max(0, now - study.active_since) if study.active_since is not None else 0
    return float(study.active_microseconds + lasting) / MICROSECONDS


def device_seconds(connection: sa.Connection, study_ids: Iterable[str], now: int) -> dict[str, float]:
    """Return the total device time of each study's search attempts in seconds; running attempts count until `now`."""
    rows = connection.execute(_SPENT, {"studies": list(study_ids), "now": now})
    return {study_id: max(0.0, float(spent) / MICROSECONDS) for study_id, spent in rows}
