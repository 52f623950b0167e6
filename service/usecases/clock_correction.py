"""Clock correction: after the database's clock was ahead and came back, no stored instant stays in the future.

An instant in the future decides wrongly for as long as the clock was ahead: a worker that is gone counts as alive, a
study's own time stands still, an attempt takes less than no time, and no trial seems to have ended after the best one.
The upkeep notices the step by its own last round, which lies in the future too, and sets each such instant to now.

What the journal, reports, verdicts, checkpoints and logs say stays as it was written: it is only shown.
"""

from __future__ import annotations

import logging

from service.storage import future_instants
from service.storage.unit_of_work import UnitOfWork
from service.usecases.context import Context

log = logging.getLogger(__name__)


async def correct_clock(context: Context, ahead_seconds: float) -> None:
    """Set every instant that decides something and lies in the future to now; doing it again changes nothing.

    Args:
        context: of this replica.
        ahead_seconds: how far the clock had been ahead, for the journal.
    """
    reason = f"the database's clock went back by {ahead_seconds:.0f} s; what it had dated in the future is dated now"
    log.warning("%s", reason)
    for study_id in await context.transact(None, _find_studies):
        await context.transact(study_id, lambda unit_of_work: _correct_study(unit_of_work, reason))
    # Last, with the instant by which the step is noticed: a service that dies in between begins anew.
    await context.transact(None, _correct_rest)


def _find_studies(unit_of_work: UnitOfWork) -> list[str]:
    return future_instants.find_studies(unit_of_work.connection, unit_of_work.now())


def _correct_study(unit_of_work: UnitOfWork, reason: str) -> None:
    unit_of_work.record("clock_corrected", data={"reason": reason})
    study_id, now = unit_of_work.study.id, unit_of_work.now()
    future_instants.correct_study(unit_of_work.connection, study_id, now, unit_of_work.revision)


def _correct_rest(unit_of_work: UnitOfWork) -> None:
    future_instants.correct_rest(unit_of_work.connection, unit_of_work.now())
