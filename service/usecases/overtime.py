"""Overtime: studies whose hours are over while nobody asks for a trial of them are completed."""

from __future__ import annotations

from service.contract.study import StudyState
from service.storage.queries import studies
from service.storage.tables import Connection
from service.usecases.context import Context
from service.usecases.settle import conclude


async def conclude_overtime(context: Context) -> None:
    """Look once through the active studies that have a budget of hours; the end of every other comes with a trial's."""

    def timed(connection: Connection) -> list[str]:
        return [
            row.id
            for row in studies.all_of(connection)
            if row.state == StudyState.ACTIVE
            and studies.spec(connection, row.id, row.spec_version).budget.hours is not None
        ]

    for study_id in await context.database.read(timed):
        await conclude(context, study_id)
