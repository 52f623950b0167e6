"""Loads a study's history for samplers and pruners, by updating an older one."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from service.contract.trial import TrialState
from service.domain.errors import DamagedRowError
from service.domain.history import History, RungResult, Series, StageBox, TrialRecord
from service.storage.damage import reading
from service.storage.queries import prior_trials, series, stages, trials
from service.storage.tables import deployment, study

_POSITION = sa.select(study.c.revision, sa.func.coalesce(sa.select(deployment.c.epoch).scalar_subquery(), 0)).where(
    study.c.id == sa.bindparam("id")
)


def refresh(connection: sa.Connection, study_id: str, metric: str, known: History) -> History:
    """Return the current history with series of `metric`, reading only trials and stages that changed after `known`.

    Every report stamps its trial with the study's revision, so a changed trial's series is read again as a whole: this
    also drops the rows that a resume has made obsolete.
    """
    revision, epoch = connection.execute(_POSITION, {"id": study_id}).one()
    if (epoch, revision) == (known.epoch, known.revision):
        return known
    if epoch != known.epoch or revision < known.revision:
        # The database was restored, or this snapshot is older than what another reader has seen: start from scratch.
        known = History()
    moved = trials.changed(connection, study_id, known.revision)
    points: dict[str, list[tuple[int, float]]] = {}
    for point in series.canonical(connection, [row.id for row in moved], [metric]):
        points.setdefault(point.trial_id, []).append((point.step, series.value_of(point)))
    # Prior trials were stored when the study was created, and never change.
    earlier = known.prior_trials if known.revision else prior_trials.of_study(connection, study_id)
    records = list(known.trials)
    for row in sorted(moved, key=lambda row: row.number):
        record = _record(row, tuple(points.get(row.id, ())))
        if row.number < len(records):
            records[row.number] = record
        else:
            records.append(record)
    decided = {
        row.number: StageBox(row.number, row.box, row.reason)
        for row in stages.decided(connection, study_id, known.revision)
    }
    return History(revision, tuple(records), epoch, prior_trials=earlier, stages={**known.stages, **decided})


def _record(row: sa.Row[Any], points: Series) -> TrialRecord:
    """Return a trial for samplers and pruners; a damaged one counts as cancelled, so it is no observation."""
    try:
        with reading(f"trial {row.number}", row):
            values = row._mapping["values"]  # noqa: SLF001 - as in views
            if not isinstance(row.parameters, dict) or any(each is None for each in row.parameters.values()):
                raise TypeError("parameters are not a mapping of values")
            if values is not None and not all(type(value) in (int, float) for value in values):
                raise TypeError("values are not numbers")
            return _intact_record(row, points)
    except DamagedRowError:
        return TrialRecord(number=row.number, state=TrialState.CANCELLED, parameters={})


def _intact_record(row: sa.Row[Any], points: Series) -> TrialRecord:
    return TrialRecord(
        number=row.number,
        state=TrialState(row.state),
        parameters=row.parameters,
        series=points,
        value=row.value,
        other_values=tuple(row._mapping["values"] or ())[1:],  # noqa: SLF001 - as in views
        tie_break_loss=row.tie_break_loss,
        infeasible=row.infeasible,
        stage=row.stage,
        notes=row.notes,
        run_until=row.run_until,
        rung_results=tuple(RungResult(**result) for result in row.rung_results),
        finished_at=row.finished_at,
    )
