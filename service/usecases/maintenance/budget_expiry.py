"""Expiry of time budgets: completes studies whose budget of hours is used up while no worker asks for a trial."""

from __future__ import annotations

from functools import partial

from service.contract.study import StudyState
from service.storage.queries import studies
from service.storage.tables import Connection, Row
from service.usecases.attempts.outcome import complete_if_done
from service.usecases.context import Context
from service.usecases.isolation import StudyFault, for_each_study, guarded, pause_for


async def complete_expired_studies(context: Context) -> None:
    """Complete the active studies whose budget of hours is used up.

    Only these studies need a periodic check: any other study is completed when a trial of it ends.
    """

    def timed(connection: Connection) -> list[str | StudyFault | None]:
        return [
            guarded(row.id, "budget check", partial(_has_hours, connection, row))
            for row in studies.all_of(connection)
            if row.state == StudyState.ACTIVE
        ]

    found = await context.database.read(timed)
    for fault in found:
        if isinstance(fault, StudyFault):
            await pause_for(context, fault)
    study_ids = [each for each in found if isinstance(each, str)]
    await for_each_study(context, "budget check", [(each, partial(_complete_one, context, each)) for each in study_ids])


def _has_hours(connection: Connection, study: Row) -> str | None:
    """Return the study's id if it has a budget of hours."""
    hours = studies.spec(connection, study.id, study.spec_version).budget.hours
    return None if hours is None else study.id


async def _complete_one(context: Context, study_id: str) -> int:
    await complete_if_done(context, study_id)
    return 1
