"""Invariant of trial values, checked with the rule of the objectives and not in SQL."""

from __future__ import annotations

import sqlalchemy as sa

from service.contract.study import StudySpec
from service.contract.trial import TrialState
from service.domain.objective import objective_results, plain_losses_of, tie_break_loss
from service.storage.fsck.violations import Violation, of_trials
from service.storage.queries import series, studies
from service.storage.tables import trial

_WITH_VALUE = (TrialState.COMPLETED, TrialState.PRUNED)


def wrong_values(connection: sa.Connection) -> list[Violation]:
    """Return trials whose stored values differ from what the objectives compute from the canonical series."""
    specs: dict[tuple[str, int], StudySpec | None] = {}
    found: list[Violation] = []
    values = trial.c["values"].label("stored")
    loss = trial.c.tie_break_loss
    columns = trial.c.id, trial.c.study_id, trial.c.spec_version, trial.c.state, trial.c.value, values, loss
    for row in connection.execute(of_trials(*columns, trial.c.metrics).order_by(trial.c.study_id, trial.c.number)):
        key = row.study_id, row.spec_version
        if key not in specs:
            specs[key] = studies.spec_if_readable(connection, *key)
        spec = specs[key]
        if row.value is None and row.stored is None and row.state != TrialState.COMPLETED:
            continue
        expected = expected_loss = None
        if row.state in _WITH_VALUE and spec is not None:
            metrics = [objective.metric for objective in spec.objectives]
            curves = series.curves(connection, row.id, [*metrics, *plain_losses_of(metrics[0])])
            try:
                measured = series.measured(row.metrics)
            except (AttributeError, LookupError, TypeError, ValueError):
                continue  # a damaged row, which the invariant `readable` reports
            expected = [final.value for final in objective_results(spec.objectives, curves, measured)]
            expected_loss = tie_break_loss(spec.primary_objective, curves, measured)
        stored = row.stored if isinstance(row.stored, list) else None
        finding = {"study": row.study, "trial": row.trial, "state": row.state}
        if row.value is None or stored != expected or row.value != (stored or [None])[0]:
            found.append(finding | {"value": row.value, "values": stored, "series": expected})
        elif row.tie_break_loss not in {None, expected_loss}:
            # Trials that ended before the column existed have no loss.
            found.append(finding | {"tie_break_loss": row.tie_break_loss, "series": expected_loss})
    return found
