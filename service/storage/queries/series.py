"""Queries for reported values: the canonical series, and the verdicts on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from service.contract.report import Action
from service.domain.history import Series
from service.storage.tables import attempt, report, verdict

_later = sa.alias(attempt)
_overtaken = (
    sa.exists()
    .where(_later.c.trial_id == report.c.trial_id, _later.c.number > report.c.attempt)
    .where(sa.func.coalesce(_later.c.resume_step, -1) < report.c.step)
)
# Built once, because building costs more than executing, and every report reads a series.
_CANONICAL = (
    sa.select(report.c.trial_id, report.c.metric, report.c.step, report.c.value, report.c.status)
    .where(report.c.trial_id.in_(sa.bindparam("trials", expanding=True)), ~_overtaken)
    .order_by(report.c.trial_id, report.c.metric, report.c.step)
)
_CANONICAL_OF_METRICS = _CANONICAL.where(report.c.metric.in_(sa.bindparam("metrics", expanding=True)))
_REPORTED = sa.select(report).where(
    report.c.trial_id == sa.bindparam("trial"),
    report.c.attempt == sa.bindparam("attempt"),
    report.c.step.in_(sa.bindparam("steps", expanding=True)),
)
_OF_ATTEMPT = sa.select(verdict).where(
    verdict.c.trial_id == sa.bindparam("trial"), verdict.c.attempt == sa.bindparam("attempt")
)
_VERDICT = _OF_ATTEMPT.where(verdict.c.sequence == sa.bindparam("sequence"))
_FIRST_STOP = _OF_ATTEMPT.where(verdict.c.action == Action.STOP).order_by(verdict.c.sequence).limit(1)
_LAST_VERDICT = _OF_ATTEMPT.order_by(verdict.c.sequence.desc()).limit(1)


def canonical(
    connection: sa.Connection, trial_ids: Iterable[str], metrics: Iterable[str] | None = None
) -> Sequence[sa.Row[Any, Any, Any, Any, Any]]:
    """Return rows (trial_id, metric, step, value, status) of the canonical series, by ascending step.

    `metrics` selects the series; without it, all series of the trials are returned.

    After a resume at step r, rows of older attempts above r stay for audit but do not count. If an attempt starts from
    scratch, no rows of older attempts count.
    """
    if metrics is None:
        return connection.execute(_CANONICAL, {"trials": list(trial_ids)}).all()
    given = {"trials": list(trial_ids), "metrics": list(metrics)}
    return connection.execute(_CANONICAL_OF_METRICS, given).all()


def curves(connection: sa.Connection, trial_id: str, metrics: Iterable[str]) -> dict[str, Series]:
    """Return the canonical series of some metrics of a trial; a series is empty if the trial did not report it."""
    points: dict[str, list[tuple[int, float]]] = {metric: [] for metric in metrics}
    for row in canonical(connection, [trial_id], points):
        points[row.metric].append((row.step, value_of(row)))
    return {metric: tuple(of_metric) for metric, of_metric in points.items()}


def metrics_of(connection: sa.Connection, trial_id: str) -> list[str]:
    """Return the sorted names of all metrics that attempts of a trial have reported."""
    query = sa.select(report.c.metric).where(report.c.trial_id == trial_id).distinct()
    return sorted(connection.execute(query).scalars())


def value_of(row: sa.Row[Any, Any, Any, Any, Any]) -> float:
    """Return a stored value as a float: NaN and the infinities are stored as their status."""
    return float(row.status) if row.value is None else float(row.value)


def measured(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the stored final metrics of a trial as floats."""
    return {name: float(value["status"] if isinstance(value, dict) else value) for name, value in metrics.items()}


def reported(
    connection: sa.Connection, trial_id: str, attempt_number: int, steps: Iterable[int]
) -> Sequence[sa.Row[Any]]:
    """Return what an attempt has already reported at `steps`."""
    given = {"trial": trial_id, "attempt": attempt_number, "steps": list(steps)}
    return connection.execute(_REPORTED, given).all()


def verdict_of(connection: sa.Connection, trial_id: str, attempt_number: int, sequence: int) -> sa.Row[Any] | None:
    """Return the stored verdict on one report."""
    given = {"trial": trial_id, "attempt": attempt_number, "sequence": sequence}
    return connection.execute(_VERDICT, given).one_or_none()


def last_verdict(connection: sa.Connection, trial_id: str, attempt_number: int) -> sa.Row[Any] | None:
    """Return the verdict on an attempt's newest report."""
    return connection.execute(_LAST_VERDICT, {"trial": trial_id, "attempt": attempt_number}).first()


def first_stop(connection: sa.Connection, trial_id: str, attempt_number: int) -> sa.Row[Any] | None:
    """Return the first verdict that told an attempt to stop, if there is one."""
    return connection.execute(_FIRST_STOP, {"trial": trial_id, "attempt": attempt_number}).first()


def verdicts(connection: sa.Connection, trial_id: str) -> Sequence[sa.Row[Any]]:
    """Return all verdicts on a trial, in the order in which they were decided."""
    query = sa.select(verdict).where(verdict.c.trial_id == trial_id)
    return connection.execute(query.order_by(verdict.c.attempt, verdict.c.sequence)).all()
