"""The write path: `Transactor` runs a piece of work in one transaction, and is the only code that commits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa

from service.contract.problem import ErrorCode
from service.contract.study import StudyState
from service.domain.errors import DomainError
from service.domain.state_machine import IllegalTransitionError, StateMachine
from service.domain.states import ATTEMPT, STUDY, TRIAL, AttemptEvent, StudyEvent, TrialEvent
from service.storage import tables
from service.storage.database import Database
from service.storage.dialect import Clock
from service.storage.serialization import check_answer

T = TypeVar("T")

# Updates by key; the columns are named at execution. Statements are built once, because building costs more than
# executing.
_STUDY = sa.select(tables.study).where(tables.study.c.id == sa.bindparam("id"))
_SET_STUDY = tables.study.update().where(tables.study.c.id == sa.bindparam("key_id"))
_SET_TRIAL = tables.trial.update().where(tables.trial.c.id == sa.bindparam("key_id"))
_SET_ATTEMPT = tables.attempt.update().where(
    tables.attempt.c.trial_id == sa.bindparam("key_id"), tables.attempt.c.number == sa.bindparam("key_number")
)


@cache
def _insert(table: sa.Table) -> sa.Insert:
    return table.insert()


@cache
def _guarded(update: sa.Update, sources: tuple[str, ...]) -> sa.Update:
    """Restrict an update to a row in one of these states."""
    return update.where(update.table.c.state.in_(sources))


MAX_TRIES = 5
"""How often a transaction that loses conflicts is run before the service answers that it is busy."""


class UnitOfWork:
    """One transaction on one study (or none): its time, its revision, its journal and its guarded updates."""

    def __init__(self, connection: sa.Connection, clock: Clock, new_id: Callable[[], str]) -> None:
        self.connection = connection
        self.new_id = new_id
        self._clock = clock
        self._now: int | None = None
        self._revision: int | None = None
        self._num_events = 0
        self._study: sa.Row[Any] | None = None

    def lock(self, query: sa.Select[Any], study_id: str) -> None:
        """Read and lock the study's row, which serializes all changes of its revision.

        Raises:
            DomainError: There is no such study, or it was deleted.
        """
        self._study = self.connection.execute(query, {"id": study_id}).one_or_none()
        if self._study is None or self._study.deleted_at is not None:
            raise DomainError(
                ErrorCode.UNKNOWN_STUDY, f"there is no study with id {study_id}; it may have been deleted"
            )

    def begin_study(self, **columns: Any) -> None:
        """Insert a study; the rest of the transaction applies to it."""
        self.insert(tables.study, revision=0, created_at=self.now(), **columns)
        self.lock(_STUDY, columns["id"])

    def reload(self) -> None:
        """Read the locked study's row again, after this transaction changed it."""
        self.lock(_STUDY, self.study.id)

    def now(self) -> int:
        """Return the database's time, read once per transaction and after the lock is held."""
        if self._now is None:
            self._now = self._clock(self.connection)
        return self._now

    @property
    def study(self) -> sa.Row[Any]:
        """The locked study's row, as the transaction read it."""
        assert self._study is not None, "this transaction locked no study"
        return self._study

    @property
    def revision(self) -> int:
        """The study's new revision; the first access increments it."""
        if self._revision is None:
            self._revision = self.study.revision + 1
            self.set_study(revision=self._revision)
        return self._revision

    def set_study(self, **columns: Any) -> None:
        """Update columns of the locked study."""
        self.connection.execute(_SET_STUDY, {"key_id": self.study.id, **columns})

    def set_trial(self, trial_id: str, **columns: Any) -> None:
        """Update columns of a trial of the locked study and stamp it with the revision."""
        self.connection.execute(_SET_TRIAL, {"key_id": trial_id, "revision": self.revision, **columns})

    def set_attempt(self, trial_id: str, number: int, **columns: Any) -> None:
        """Update columns of an attempt and stamp it with the revision."""
        keys = {"key_id": trial_id, "key_number": number}
        self.connection.execute(_SET_ATTEMPT, {**keys, "revision": self.revision, **columns})

    def insert(self, table: sa.Table, **columns: Any) -> None:
        """Insert one row."""
        self.connection.execute(_insert(table), columns)

    def record(
        self,
        kind: str,
        *,
        trial: sa.Row[Any] | None = None,
        attempt: int | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Append a journal row at this transaction's revision."""
        self.insert(
            tables.journal,
            study_id=self.study.id,
            revision=self.revision,
            ordinal=self._num_events,
            at=self.now(),
            kind=kind,
            trial_id=trial.id if trial is not None else None,
            trial_number=trial.number if trial is not None else None,
            attempt=attempt,
            data=dict(data or {}),
        )
        self._num_events += 1

    def advance_study(
        self, event: StudyEvent, *, reason: str | None = None, details: Mapping[str, Any] | None = None, **columns: Any
    ) -> None:
        """Apply `event` to the study and record it with `details`; also update the study's active time."""
        revision = self.revision
        columns |= self._own_time(STUDY.transitions[event].target)
        self._move(_SET_STUDY, STUDY, event, key_id=self.study.id, revision=revision, state_reason=reason, **columns)
        self.record(f"study_{event}", data={"reason": reason, **(details or {})})

    def _own_time(self, target: StudyState) -> dict[str, int | None]:
        """Return the columns of the study's active time, which counts from its first trial."""
        study = self.study
        if target is StudyState.ACTIVE:
            is_begun = study.active_since is None and study.next_number > 0
            return {"active_since": self.now()} if is_begun else {}
        if study.active_since is None:
            return {}
        passed = max(0, self.now() - study.active_since)
        return {"active_since": None, "active_microseconds": study.active_microseconds + passed}

    def advance_trial(
        self,
        trial: sa.Row[Any],
        event: TrialEvent,
        *,
        attempt: int | None = None,
        reason: str | None = None,
        **columns: Any,
    ) -> None:
        """Apply `event` to a trial and record it."""
        revision = self.revision
        self._move(_SET_TRIAL, TRIAL, event, key_id=trial.id, revision=revision, state_reason=reason, **columns)
        self.record(f"trial_{event}", trial=trial, attempt=attempt, data={"reason": reason})

    def advance_attempt(
        self, trial: sa.Row[Any], number: int, event: AttemptEvent, *, reason: str | None = None, **columns: Any
    ) -> None:
        """Apply `event` to an attempt and record it."""
        keys = {"key_id": trial.id, "key_number": number}
        self._move(_SET_ATTEMPT, ATTEMPT, event, **keys, revision=self.revision, **columns)
        self.record(f"attempt_{event}", trial=trial, attempt=number, data={"reason": reason})

    def _move(
        self,
        update: sa.Update,
        machine: StateMachine[Any, Any],
        event: StudyEvent | TrialEvent | AttemptEvent,
        **columns: Any,
    ) -> None:
        """Run the event's transition as a guarded UPDATE; raise unless the row is in a source state of the event."""
        move = machine.transitions[event]
        guarded = _guarded(update, tuple(sorted(move.sources)))
        if self.connection.execute(guarded, {"state": move.target, **columns}).rowcount != 1:
            raise IllegalTransitionError(f"{machine.name}: {event} found none in {', '.join(sorted(move.sources))}")


class Transact(Protocol):
    """Interface by which use cases write: `await transact(study_id, work)`."""

    async def __call__(self, study_id: str | None, work: Callable[[UnitOfWork], T], /) -> T:
        """Run `work` in one transaction that locks the study's row, commit, and return its result."""


class Transactor:
    """Runs work on a writer thread in one transaction, repeats it on conflict, commits, and returns the result."""

    def __init__(self, database: Database, new_id: Callable[[], str], clock: Clock | None = None) -> None:
        self._database = database
        self._new_id = new_id
        self._clock = clock or database.dialect.now

    async def __call__(self, study_id: str | None, work: Callable[[UnitOfWork], T], /) -> T:
        loop = asyncio.get_running_loop()
        # Shielded: a caller that is cancelled must not leave a transaction half done.
        return await asyncio.shield(loop.run_in_executor(self._database.writing, self.run_sync, study_id, work))

    def run_sync(self, study_id: str | None, work: Callable[[UnitOfWork], T], /) -> T:
        """Run `work` in one transaction on this thread.

        Raises:
            DomainError: What `work` raised, with nothing written; `busy` after MAX_TRIES lost conflicts; `unavailable`
                if the connection was lost, perhaps during a commit: so repeated work must be idempotent.
            UnserializableError: No client could read what `work` returned or stored; nothing was written.
        """
        for num_before in range(MAX_TRIES):
            try:
                return self._once(study_id, work)
            except sa.exc.DBAPIError as error:
                if not self._database.dialect.is_conflict(error):
                    raise
                # If the same row is missing in every try, no other writer is deleting it: the work itself is wrong.
                if num_before == MAX_TRIES - 1 and self._database.dialect.is_orphan(error):
                    raise
            except StopIteration as error:
                # A future cannot hold a StopIteration, so the caller would wait forever.
                raise RuntimeError("the transaction's work raised StopIteration") from error
        raise DomainError(ErrorCode.BUSY, "the database is busy with other writers; repeat the request in a second")

    def _once(self, study_id: str | None, work: Callable[[UnitOfWork], T]) -> T:
        with self._database.connected(self._database.writer) as connection:
            unit_of_work = UnitOfWork(connection, self._clock, self._new_id)
            if study_id is not None:
                unit_of_work.lock(self._database.dialect.lock_study(), study_id)
            result = work(unit_of_work)
            check_answer(result)
            connection.commit()
            return result
