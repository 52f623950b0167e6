"""Pareto fronts of multi-objective studies, computed with the domain's rule and not in SQL."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from service.contract.base import Directions
from service.domain.pareto import LossVector, pareto_front, stored_losses
from service.storage.queries import trials


def of_study(
    connection: sa.Connection, study_id: str, directions: Directions
) -> tuple[list[sa.Row[Any]], list[LossVector]]:
    """Return the rows (id, number, values, finished_at) of the Pareto front, and the points of all completed trials.

    A trial whose stored values are damaged is left out.
    """
    rows, points = [], []
    for row in trials.completed(connection, study_id):
        point = stored_losses(row._mapping["values"], directions)  # noqa: SLF001 - as in views
        if point is not None:
            rows.append(row)
            points.append(point)
    return [rows[at] for at in pareto_front(points)], points
