"""Reported values: the canonical series, the verdicts on them, and the checkpoints up to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from service.storage.tables import artifact, attempt, checkpoint, report, verdict


def canonical(
    connection: sa.Connection, trial_ids: Iterable[str], metric: str | None = None
) -> Sequence[sa.Row[Any, Any, Any, Any, Any]]:
    """Rows (trial_id, metric, step, value, status) of the canonical series, steps ascending.

    After a resume at step r, rows of older attempts above r stay for audit but do not count; an attempt that
    started afresh leaves none of theirs.
    """
    later = sa.alias(attempt)
    overtaken = (
        sa.exists()
        .where(later.c.trial_id == report.c.trial_id, later.c.number > report.c.attempt)
        .where(sa.func.coalesce(later.c.resume_step, -1) < report.c.step)
    )
    query = (
        sa.select(report.c.trial_id, report.c.metric, report.c.step, report.c.value, report.c.status)
        .where(report.c.trial_id.in_(list(trial_ids)), ~overtaken)
        .order_by(report.c.trial_id, report.c.metric, report.c.step)
    )
    if metric is not None:
        query = query.where(report.c.metric == metric)
    return connection.execute(query).all()


def value_of(row: sa.Row[Any, Any, Any, Any, Any]) -> float:
    """A stored value as a float: NaN and the infinities are kept as their status."""
    return float(row.status) if row.value is None else float(row.value)


def reported(
    connection: sa.Connection, trial_id: str, attempt_number: int, steps: Iterable[int]
) -> Sequence[sa.Row[Any]]:
    """What an attempt already reported at `steps`."""
    query = sa.select(report).where(
        report.c.trial_id == trial_id, report.c.attempt == attempt_number, report.c.step.in_(list(steps))
    )
    return connection.execute(query).all()


def verdict_of(connection: sa.Connection, trial_id: str, attempt_number: int, sequence: int) -> sa.Row[Any] | None:
    """The stored answer to one report."""
    query = sa.select(verdict).where(
        verdict.c.trial_id == trial_id, verdict.c.attempt == attempt_number, verdict.c.sequence == sequence
    )
    return connection.execute(query).one_or_none()


def last_verdict(connection: sa.Connection, trial_id: str, attempt_number: int) -> sa.Row[Any] | None:
    """The answer to an attempt's newest report."""
    query = (
        sa.select(verdict)
        .where(verdict.c.trial_id == trial_id, verdict.c.attempt == attempt_number)
        .order_by(verdict.c.sequence.desc())
        .limit(1)
    )
    return connection.execute(query).first()


def verdicts(connection: sa.Connection, trial_id: str) -> Sequence[sa.Row[Any]]:
    """All verdicts on a trial, in the order in which they fell."""
    query = sa.select(verdict).where(verdict.c.trial_id == trial_id)
    return connection.execute(query.order_by(verdict.c.attempt, verdict.c.sequence)).all()


def checkpoint_of(connection: sa.Connection, trial_id: str, attempt_number: int, step: int) -> sa.Row[Any] | None:
    """The artifact that is an attempt's checkpoint of `step`."""
    query = (
        sa.select(artifact)
        .join(checkpoint, checkpoint.c.artifact_id == artifact.c.id)
        .where(checkpoint.c.trial_id == trial_id, checkpoint.c.attempt == attempt_number, checkpoint.c.step == step)
    )
    return connection.execute(query).one_or_none()
