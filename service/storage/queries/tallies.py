"""Loads the tally of a study's search trials, by updating an older one."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from service.contract.base import Directions
from service.contract.trial import TrialKind, TrialState
from service.domain.budget import committed_steps
from service.domain.pareto import stored_losses
from service.domain.tally import Tally, TrialFacts
from service.storage.tables import attempt, deployment, trial

# Built once, because building costs more than executing, and every view of a study runs it.
_EPOCH = sa.select(deployment.c.epoch)
_is_moved = sa.and_(
    trial.c.study_id == sa.bindparam("study"),
    trial.c.revision > sa.bindparam("since"),
    trial.c.kind == TrialKind.SEARCH,
)
_FACTS = sa.select(
    trial.c.id, trial.c.number, trial.c.state, trial.c.finished_at, trial.c.last_step, trial.c.run_until
).where(_is_moved)
_FACTS_WITH_VALUES = _FACTS.add_columns(trial.c["values"])
_ATTEMPTS = (
    sa.select(attempt.c.trial_id, attempt.c.started_at, attempt.c.ended_at, attempt.c.num_devices)
    .join(trial, trial.c.id == attempt.c.trial_id)
    .where(_is_moved)
)


def epoch(connection: sa.Connection) -> int:
    """Return the deployment's epoch; a new epoch means that the database was restored from a backup."""
    return connection.execute(_EPOCH).scalar_one_or_none() or 0


def refresh(
    connection: sa.Connection, study: sa.Row[Any], directions: Directions, last_step: int | None, known: Tally
) -> Tally:
    """Return the current tally, reading only the trials that changed after `known`.

    A transaction that begins, ends or changes an attempt also stamps its trial with the study's revision.
    """
    now = epoch(connection)
    if (now, study.revision) == (known.epoch, known.revision):
        return known
    if now != known.epoch or study.revision < known.revision:
        # The database was restored, or this snapshot is older than what another reader has seen: start from scratch.
        known = Tally()
    given = {"study": study.id, "since": known.revision}
    used: dict[str, int] = {}
    running: dict[str, list[tuple[int, int]]] = {}
    for row in connection.execute(_ATTEMPTS, given):
        if row.ended_at is None:
            running.setdefault(row.trial_id, []).append((row.started_at, row.num_devices))
        else:
            # An attempt never has a negative duration, whatever the clock said when it began.
            lasted = max(0, row.ended_at - row.started_at)
            used[row.trial_id] = used.get(row.trial_id, 0) + lasted * row.num_devices
    has_several = len(directions) > 1
    moved = {
        row.id: TrialFacts(
            number=row.number,
            state=TrialState(row.state),
            finished_at=row.finished_at,
            point=_point(row, directions) if has_several else None,
            used_microseconds=used.get(row.id, 0),
            steps=committed_steps(row.state, row.last_step, row.run_until, last_step),
            running=tuple(sorted(running.get(row.id, ()))),
        )
        for row in connection.execute(_FACTS_WITH_VALUES if has_several else _FACTS, given)
    }
    return known.updated(moved, now, study.revision)


def _point(row: sa.Row[Any], directions: Directions) -> tuple[float, ...] | None:
    values = row._mapping["values"]  # noqa: SLF001 - the documented way to get a column named like a method
    return stored_losses(values, directions) if row.state == TrialState.COMPLETED else None
