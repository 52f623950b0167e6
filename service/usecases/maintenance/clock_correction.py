"""Clock correction: sets stored timestamps that lie in the future to now, after the database's clock was ahead.

A timestamp in the future causes wrong decisions for as long as the clock was ahead: a worker that is gone counts as
alive, a study's own time does not advance, an attempt has a negative duration, and no trial seems to end after the best
one. The maintenance loop detects the jump by the timestamp of its own last round, which lies in the future too.

The journal, reports, verdicts, checkpoints and logs keep the timestamps that were written: they are only displayed.
"""

from __future__ import annotations

import logging

from service.storage import future_timestamps
from service.storage.unit_of_work import UnitOfWork
from service.usecases.context import Context

log = logging.getLogger(__name__)


async def correct_clock(context: Context, ahead_seconds: float) -> None:
    """Set every timestamp in the future that a decision depends on to now. Repeating it changes nothing.

    Args:
        context: Context of this replica.
        ahead_seconds: How far the clock was ahead, for the journal.
    """
    reason = f"the database's clock went back by {ahead_seconds:.0f} s; timestamps in the future were set to now"
    log.warning("%s", reason)
    for study_id in await context.transact(None, _find_studies):
        await context.transact(study_id, lambda unit_of_work: _correct_study(unit_of_work, reason))
    # Correct the timestamp that reveals the jump last: a service that dies in between starts the correction again.
    await context.transact(None, _correct_rest)


def _find_studies(unit_of_work: UnitOfWork) -> list[str]:
    return future_timestamps.find_studies(unit_of_work.connection, unit_of_work.now())


def _correct_study(unit_of_work: UnitOfWork, reason: str) -> None:
    unit_of_work.record("clock_corrected", data={"reason": reason})
    study_id, now = unit_of_work.study.id, unit_of_work.now()
    future_timestamps.correct_study(unit_of_work.connection, study_id, now, unit_of_work.revision)


def _correct_rest(unit_of_work: UnitOfWork) -> None:
    future_timestamps.correct_rest(unit_of_work.connection, unit_of_work.now())
