"""Stored JSON and answers are checked before the commit, on both databases."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from service.contract.report import Action, Verdict
from service.contract.storable import MAX_DEPTH, MAX_INTEGER
from service.contract.study import EventList
from service.domain.errors import UnserializableError
from service.storage import tables
from service.storage.database import Database
from service.storage.queries import journal, views
from service.storage.serialization import check_answer
from service.storage.unit_of_work import Transactor, UnitOfWork
from tests.storage.rows import put_attempt

GOOD = Verdict(action=Action.CONTINUE, reason="goes on", step=1)
BAD = Verdict.model_construct(action=Action.CONTINUE, reason="\ud800", step=1)


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.fixture
def transact(database: Database) -> Transactor:
    with database.writer.begin() as connection:
        put_attempt(connection)
    return Transactor(database, lambda: secrets.token_hex(16))


def num_events(database: Database) -> int:
    query = sa.select(sa.func.count()).select_from(tables.journal)
    return database.read_sync(lambda connection: connection.execute(query).scalar_one())


@pytest.mark.parametrize(
    "value",
    [
        float("nan"), float("inf"), "\ud800", "a\0b", {"\udfff": 1}, MAX_INTEGER + 1, nested(2 * MAX_DEPTH + 1),
        {1, 2}, object(),
    ],
    ids=["nan", "inf", "surrogate", "NUL", "key", "integer", "deep", "set", "object"],
)  # fmt: skip
def test_a_row_with_unreadable_json_is_not_stored(database: Database, transact: Transactor, value: object) -> None:
    with pytest.raises(UnserializableError, match=r"a value to store cannot be written as JSON: .*; nothing"):
        transact.run_sync("s1", lambda unit_of_work: unit_of_work.record("something", data={"value": value}))
    assert num_events(database) == 0


@pytest.mark.parametrize(
    "answer",
    [
        lambda: BAD,
        lambda: [GOOD, BAD],
        lambda: (1, [None, BAD]),
        lambda: GOOD.model_copy(update={"step": float("nan")}),
        lambda: GOOD.model_copy(update={"action": "perhaps"}),
        lambda: Verdict.model_construct(action=Action.CONTINUE, reason="no step"),
    ],
    ids=["surrogate", "in a list", "in a tuple", "nan", "unknown word", "missing field"],
)
def test_an_unreadable_answer_rolls_the_transaction_back(
    database: Database, transact: Transactor, answer: Callable[[], object]
) -> None:
    def work(unit_of_work: UnitOfWork) -> object:
        unit_of_work.record("something")
        return answer()

    with pytest.raises(UnserializableError, match="the answer \\(Verdict\\) cannot be written as JSON"):
        transact.run_sync("s1", work)
    assert num_events(database) == 0
    assert transact.run_sync("s1", lambda unit_of_work: unit_of_work.record("more")) is None
    assert num_events(database) == 1


def test_readable_json_is_stored_and_answered(database: Database, transact: Transactor) -> None:
    values = [nested(2 * MAX_DEPTH - 3), MAX_INTEGER, -MAX_INTEGER, 1e300, 5e-324, "Grüße 🌲", True, None]

    def work(unit_of_work: UnitOfWork) -> list[Verdict]:
        unit_of_work.record("something", data={"values": values})
        return [GOOD]

    assert transact.run_sync("s1", work) == [GOOD]
    events = database.read_sync(lambda connection: views.events(journal.after(connection, "s1", 0, 10)))
    check_answer(events)
    (event,) = EventList.model_validate_json(events.model_dump_json()).events
    assert event.data == {"values": values}
