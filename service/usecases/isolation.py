"""Fault isolation: an exception from one study's strategy or data pauses that study only, and the caller goes on.

Every exception counts except those that say nothing about the study: a refusal (DomainError), an error of the database
or the file system, an out-of-memory error, and a cancellation.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from service.contract.problem import ErrorCode
from service.contract.storable import to_storable
from service.contract.study import PauseCause, StudyState
from service.domain.errors import DomainError
from service.domain.states import StudyEvent
from service.storage.database import DATABASE_ERRORS
from service.storage.unit_of_work import UnitOfWork
from service.usecases.context import Context

T = TypeVar("T")
log = logging.getLogger(__name__)

_NOT_THE_STUDY = (DomainError, *DATABASE_ERRORS, MemoryError, OSError)
_MESSAGE_CHARACTERS = 300
_TRACEBACK_CHARACTERS = 8_000


@dataclass(frozen=True)
class StudyFault:
    """An exception that the strategy, the spec or a row of one study raised."""

    study_id: str
    during: str
    """The operation that failed: claim, report, finish, …"""
    error: Exception

    @property
    def summary(self) -> str:
        """The exception in one line: its class and message."""
        message = " ".join(to_storable(str(self.error)).split())
        if len(message) > _MESSAGE_CHARACTERS:
            message = f"{message[:_MESSAGE_CHARACTERS]}…"
        name = type(self.error).__name__
        return f"{name}: {message}" if message else name

    @property
    def reason(self) -> str:
        """Why the study is paused, in one sentence."""
        return f"the study's strategy or data failed in a {self.during}: {self.summary}"

    @property
    def traceback(self) -> str:
        """The traceback of the exception; a long one keeps its first line and its last lines."""
        text = to_storable("".join(traceback.format_exception(self.error)))
        if len(text) <= _TRACEBACK_CHARACTERS:
            return text
        heading = text.partition("\n")[0][:_MESSAGE_CHARACTERS]
        end = text[-_TRACEBACK_CHARACTERS:].partition("\n")[2]
        return f"{heading}\n  …\n{end}"


def guarded(study_id: str, during: str, call: Callable[[], T]) -> T | StudyFault:
    """Call a function that depends on one study, in this thread; return a StudyFault if it raises.

    The caller passes the fault to `pause_for` after it has left the reading thread or the transaction.
    """
    try:
        return call()
    except _NOT_THE_STUDY:
        raise
    except Exception as error:
        return StudyFault(study_id, during, error)


async def attempt_to(study_id: str, during: str, work: Callable[[], Awaitable[T]]) -> T | StudyFault:
    """Await an operation that depends on one study; return a StudyFault if it raises, as `guarded` does."""
    try:
        return await work()
    except _NOT_THE_STUDY:
        raise
    except Exception as error:
        return StudyFault(study_id, during, error)


async def isolated(context: Context, study_id: str, during: str, work: Callable[[], Awaitable[T]]) -> T | StudyFault:
    """Await an operation for one study; if it raises, pause the study and return a StudyFault."""
    result = await attempt_to(study_id, during, work)
    if isinstance(result, StudyFault):
        await pause_for(context, result)
    return result


async def transact_isolated(
    context: Context,
    study_id: str,
    during: str,
    work: Callable[[UnitOfWork, StudyFault | None], T],
    fault: StudyFault | None = None,
) -> T:
    """Run a transaction whose data must be stored even if the study's strategy fails.

    `work` first runs with None and may call the strategy. If it raises, the transaction is rolled back, and `work` runs
    again with the fault: then it must not call the strategy. That second transaction also pauses the study. If the
    caller passes a known `fault`, only the second run takes place.
    """
    if fault is None:
        try:
            return await context.transact(study_id, lambda unit_of_work: work(unit_of_work, None))
        except _NOT_THE_STUDY:
            raise
        except Exception as error:
            fault = StudyFault(study_id, during, error)
    known, is_pausing = fault, not _is_alarming(context, fault)

    def without_strategy(unit_of_work: UnitOfWork) -> tuple[T, bool]:
        result = work(unit_of_work, known)
        return result, is_pausing and _pause(unit_of_work, known)

    try:
        result, is_paused = await context.transact(study_id, without_strategy)
    except _NOT_THE_STUDY:
        raise
    except Exception:
        # The rows to write are damaged themselves.
        await pause_for(context, known)
        raise
    _log(known, is_paused=is_paused)
    return result


async def pause_for(context: Context, fault: StudyFault) -> None:
    """Pause the study that failed, unless so many studies failed recently that the service is probably at fault."""
    if _is_alarming(context, fault):
        return
    try:
        is_paused = await context.transact(fault.study_id, lambda unit_of_work: _pause(unit_of_work, fault))
    except DomainError as error:
        if error.code is ErrorCode.UNKNOWN_STUDY:
            return  # it was deleted in the meantime
        raise
    _log(fault, is_paused=is_paused)


async def for_each_study(context: Context, during: str, tasks: list[tuple[str, Callable[[], Awaitable[int]]]]) -> int:
    """Run maintenance study by study; return the sum of the results. A study that fails does not block the others.

    Raises:
        DomainError: The database is unavailable.
    """
    num_done = 0
    for study_id, task in tasks:
        try:
            answer = await isolated(context, study_id, during, task)
        except DomainError as error:
            if error.code is ErrorCode.UNAVAILABLE:
                raise
            log.warning("%s of study %s is tried again: %s", during, study_id, error.detail)
        except (*DATABASE_ERRORS, OSError) as error:
            log.warning("%s of study %s failed and is tried again: %s", during, study_id, error)
        else:
            num_done += 0 if isinstance(answer, StudyFault) else answer
    return num_done


def _is_alarming(context: Context, fault: StudyFault) -> bool:
    """Return whether many studies failed recently; in that case no study is paused, and an alarm is logged."""
    now = asyncio.get_running_loop().time()
    num_studies = context.faults.note(fault.study_id, now)
    if num_studies and context.faults.is_alarm_due(now):
        log.error(
            "ALARM: %d studies failed within a minute, so the service itself is probably at fault; those that fail "
            "now are skipped and not paused. The last one is %s: %s\n%s",
            num_studies,
            fault.study_id,
            fault.reason,
            fault.traceback,
        )
    return num_studies > 0


def _pause(unit_of_work: UnitOfWork, fault: StudyFault) -> bool:
    """Pause the study if it is active; return whether it was."""
    study = unit_of_work.study
    if study.state != StudyState.ACTIVE or study.stop_requested_at is not None:
        return False
    details = {"during": fault.during, "traceback": fault.traceback}
    unit_of_work.advance_study(StudyEvent.PAUSED, reason=fault.reason, pause_cause=PauseCause.FAILURES, details=details)
    return True


def _log(fault: StudyFault, *, is_paused: bool) -> None:
    if is_paused:
        log.error("study %s was paused: %s\n%s", fault.study_id, fault.reason, fault.traceback)
