"""The unit of work: all or nothing, one order per study, guarded transitions."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from service.contract.problem import ErrorCode
from service.domain.errors import DomainError
from service.domain.state_machine import IllegalTransitionError
from service.domain.states import AttemptEvent, StudyEvent, TrialEvent
from service.storage import tables
from service.storage.database import Database, open_database, url_of
from service.storage.dialect import Postgres
from service.storage.queries import journal, studies, trials
from service.storage.unit_of_work import MAX_TRIES, Transactor, UnitOfWork
from tests.storage.rows import ATTEMPT, STUDY, TRIAL, put_attempt


@pytest.fixture
def transact(database: Database) -> Transactor:
    with database.writer.begin() as connection:
        put_attempt(connection)
    return Transactor(database, lambda: secrets.token_hex(16))


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[Database]:
    """For what SQLite cannot do: two who write at once."""
    opened = open_database(postgres_url)
    yield opened
    opened.close()


def study(database: Database) -> sa.Row[Any]:
    found = database.read_sync(lambda connection: studies.find(connection, "s1"))
    assert found is not None
    return found


def told(database: Database) -> list[tuple[int, int, str]]:
    rows = database.read_sync(lambda connection: journal.after(connection, "s1", 0, 1000))
    return [(row.revision, row.ordinal, row.kind) for row in rows]


def test_an_error_leaves_nothing(database: Database, transact: Transactor) -> None:
    def work(unit_of_work: UnitOfWork) -> None:
        unit_of_work.set_trial("t0", last_step=7)
        unit_of_work.record("something")
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        transact.run_sync("s1", work)
    assert study(database).revision == 0
    assert told(database) == []
    trial = database.read_sync(lambda connection: trials.by_id(connection, "t0"))
    assert trial is not None
    assert trial.last_step is None


def test_a_transaction_that_only_reads_moves_no_revision(database: Database, transact: Transactor) -> None:
    assert transact.run_sync("s1", lambda unit_of_work: unit_of_work.study.name) == "digits"
    assert study(database).revision == 0


def test_a_transaction_is_one_revision_whatever_it_writes(database: Database, transact: Transactor) -> None:
    def work(unit_of_work: UnitOfWork) -> int:
        unit_of_work.set_trial("t0", last_step=1)
        unit_of_work.set_attempt("t0", 1, last_step=1)
        unit_of_work.advance_study(StudyEvent.PAUSED)
        return unit_of_work.revision

    assert transact.run_sync("s1", work) == 1
    assert transact.run_sync("s1", lambda unit_of_work: unit_of_work.record("more")) is None
    assert study(database).revision == 2
    stamped = database.read_sync(lambda connection: connection.execute(sa.select(tables.attempt.c.revision)).scalar())
    assert stamped == 1


def test_the_journal_is_one_total_order(database: Database, transact: Transactor) -> None:
    def work(unit_of_work: UnitOfWork) -> None:
        unit_of_work.record("first")
        unit_of_work.record("second")

    async def together() -> None:
        await asyncio.gather(*(transact("s1", work) for _ in range(20)))

    asyncio.run(together())
    kinds = ["first", "second"]
    assert told(database) == [(revision, ordinal, kinds[ordinal]) for revision in range(1, 21) for ordinal in range(2)]


def test_the_journal_is_read_in_whole_revisions(database: Database, transact: Transactor) -> None:
    def work(unit_of_work: UnitOfWork) -> None:
        for kind in ("first", "second", "third"):
            unit_of_work.record(kind)

    transact.run_sync("s1", work)
    transact.run_sync("s1", work)

    def page(after: int, limit: int) -> list[int]:
        return [row.revision for row in database.read_sync(lambda at: journal.after(at, "s1", after, limit))]

    assert page(0, 1) == [1, 1, 1]
    assert page(0, 5) == [1, 1, 1]
    assert page(1, 2) == [2, 2, 2]
    assert page(2, 2) == []


def test_time_is_constant_within_a_transaction(database: Database, transact: Transactor) -> None:
    def work(unit_of_work: UnitOfWork) -> tuple[int, int]:
        first = unit_of_work.now()
        database.dialect.now(unit_of_work.connection)
        return first, unit_of_work.now()

    first, second = transact.run_sync("s1", work)
    assert first == second


def test_a_move_that_the_table_does_not_know_is_refused(database: Database, transact: Transactor) -> None:
    trial = database.read_sync(lambda connection: trials.by_id(connection, "t0"))
    assert trial is not None
    with pytest.raises(IllegalTransitionError, match="trial: claimed found none in waiting"):
        transact.run_sync("s1", lambda unit_of_work: unit_of_work.advance_trial(trial, TrialEvent.CLAIMED))
    with pytest.raises(IllegalTransitionError, match="attempt: reattached found none in lost"):
        transact.run_sync("s1", lambda unit_of_work: unit_of_work.advance_attempt(trial, 1, AttemptEvent.REATTACHED))
    with pytest.raises(IllegalTransitionError, match="study: resumed found none in paused"):
        transact.run_sync("s1", lambda unit_of_work: unit_of_work.advance_study(StudyEvent.RESUMED))
    transact.run_sync("s1", lambda unit_of_work: unit_of_work.advance_trial(trial, TrialEvent.COMPLETED))
    for event in TrialEvent:
        with pytest.raises(IllegalTransitionError):
            transact.run_sync("s1", lambda unit_of_work, event=event: unit_of_work.advance_trial(trial, event))
    assert told(database) == [(1, 0, "trial_completed")]


def test_an_unknown_study_is_reported(transact: Transactor) -> None:
    with pytest.raises(DomainError) as caught:
        transact.run_sync("s2", lambda _: None)
    assert caught.value.code is ErrorCode.UNKNOWN_STUDY


def test_one_study_is_written_by_one_at_a_time(database: Database, transact: Transactor) -> None:
    """Read, wait, write: without the lock all would write the same number."""
    barrier = threading.Event()

    def work(unit_of_work: UnitOfWork) -> None:
        next_number = unit_of_work.study.next_number
        barrier.wait(0.01)
        unit_of_work.set_study(next_number=next_number + 1)

    async def together() -> None:
        await asyncio.gather(*(transact("s1", work) for _ in range(16)))

    asyncio.run(together())
    assert study(database).next_number == 16


class Colliding:
    """Two transactions that each hold a row the other wants, on two threads of one replica."""

    def __init__(self) -> None:
        self.num_calls = 0
        self._met = threading.Barrier(2)

    def work(self, mine: str, other: str) -> Any:
        def work(unit_of_work: UnitOfWork) -> None:
            self.num_calls += 1
            worker = tables.worker
            unit_of_work.connection.execute(worker.update().where(worker.c.name == mine).values(host=mine))
            if self.num_calls <= 2:
                self._met.wait(10)
            unit_of_work.connection.execute(worker.update().where(worker.c.name == other).values(host=mine))

        return work


def test_two_that_really_collide_both_succeed_in_the_end(postgres_database: Database) -> None:
    transact = Transactor(postgres_database, lambda: secrets.token_hex(16))
    facts = {"host": "", "capabilities": {}, "protocol": 1, "first_seen_at": 0, "last_seen_at": 0}
    for name in ("a", "b"):
        transact.run_sync(None, lambda unit_of_work, name=name: unit_of_work.insert(tables.worker, name=name, **facts))
    colliding = Colliding()

    async def together() -> None:
        await asyncio.gather(transact(None, colliding.work("a", "b")), transact(None, colliding.work("b", "a")))

    asyncio.run(together())
    # One of them at least was repeated; more, where the loser of a deadlock is back before the other has woken up.
    assert 3 <= colliding.num_calls <= 2 * MAX_TRIES
    with postgres_database.writer.connect() as connection:
        hosts = set(connection.execute(sa.select(tables.worker.c.host)).scalars())
    assert hosts in ({"a"}, {"b"}), "each writes both rows: the last one's writing stands, whole"


def test_two_inserts_of_the_same_key_conflict(postgres_database: Database) -> None:
    """The loser repeats its work, and then sees the row of the winner."""
    transact = Transactor(postgres_database, lambda: secrets.token_hex(16))
    met = threading.Barrier(2)

    def work(unit_of_work: UnitOfWork) -> str:
        if studies.find(unit_of_work.connection, "s1") is not None:
            return "found"
        met.wait(10)
        unit_of_work.insert(tables.study, **STUDY)
        return "made"

    async def together() -> list[str]:
        return await asyncio.gather(transact(None, work), transact(None, work))

    assert sorted(asyncio.run(together())) == ["found", "made"]


def test_a_transaction_that_always_conflicts_is_answered_busy(postgres_database: Database) -> None:
    with postgres_database.writer.begin() as connection:
        put_attempt(connection)
    num_tries = 0

    def work(unit_of_work: UnitOfWork) -> None:
        nonlocal num_tries
        num_tries += 1
        unit_of_work.insert(tables.trial, **TRIAL)

    with pytest.raises(DomainError) as caught:
        Transactor(postgres_database, lambda: "id").run_sync(None, work)
    assert caught.value.code is ErrorCode.BUSY
    assert num_tries == MAX_TRIES


def test_a_database_that_fails_midway_is_reported_and_used_again_later(
    postgres_database: Database,
) -> None:
    def end_this_connection(unit_of_work: UnitOfWork) -> None:
        unit_of_work.insert(tables.study, **STUDY)
        unit_of_work.connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")

    transact = Transactor(postgres_database, lambda: "id")
    with pytest.raises(DomainError) as caught:
        transact.run_sync(None, end_this_connection)
    assert caught.value.code is ErrorCode.UNAVAILABLE
    assert transact.run_sync(None, lambda unit_of_work: studies.find(unit_of_work.connection, "s1")) is None


def test_an_unreachable_database_is_reported_as_unavailable() -> None:
    nowhere = Database(Postgres(url_of("postgresql://me:secret@127.0.0.1:1/assayer")))
    with pytest.raises(DomainError, match="does not answer") as caught:
        nowhere.read_sync(lambda connection: studies.find(connection, "s1"))
    assert caught.value.code is ErrorCode.UNAVAILABLE
    nowhere.close()


def test_an_answer_comes_only_after_the_commit(database: Database, transact: Transactor) -> None:
    async def write_and_look() -> int:
        await transact("s1", lambda unit_of_work: unit_of_work.record("done"))
        return int((await database.read(lambda connection: studies.find(connection, "s1"))).revision)  # type: ignore[union-attr]

    assert asyncio.run(write_and_look()) == 1


def test_a_cancelled_caller_does_not_cancel_the_write(database: Database, transact: Transactor) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(unit_of_work: UnitOfWork) -> None:
        begun.set()
        go_on.wait(10)
        unit_of_work.record("written")

    async def give_up() -> None:
        waiting = asyncio.create_task(transact("s1", work))
        await asyncio.to_thread(begun.wait, 10)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        go_on.set()
        await transact("s1", lambda _: None)

    asyncio.run(give_up())
    assert told(database) == [(1, 0, "written")]


def test_an_attempt_is_its_own_row(transact: Transactor) -> None:
    with pytest.raises(sa.exc.IntegrityError):
        transact.run_sync(
            "s1", lambda unit_of_work: unit_of_work.insert(tables.attempt, **ATTEMPT | {"trial_id": "t9"})
        )
