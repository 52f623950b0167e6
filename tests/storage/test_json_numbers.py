"""Values read from a database equal those written: numbers in JSON and in columns, and null."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from service.contract.storable import MAX_INTEGER
from service.storage import tables
from service.storage.database import Database
from tests.storage.rows import TRIAL, put, put_attempt

NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-MAX_INTEGER, MAX_INTEGER) | st.booleans()
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
VALUES = st.recursive(
    NUMBERS | WORDS | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
EXTREMES = [
    1e16,
    -1e16,
    1e22,
    1e23,
    -1e23,
    9.007199254740994e15,
    1.7976931348623157e308,
    5e-324,
    1e-320,
    0.1,
    1.0,
    -0.0,
]

each_example = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read_back(database: Database, **columns: Any) -> sa.Row[Any]:
    """Write columns of a trial, and read them as another transaction does."""
    with database.writer.begin() as connection:
        connection.execute(tables.study.delete())
        put_attempt(connection)
        put(connection, tables.trial, TRIAL, id="t1", number=1, **columns)
    query = sa.select(tables.trial).where(tables.trial.c.id == "t1")
    return database.read_sync(lambda connection: connection.execute(query).one())


def is_same(value: Any, other: Any) -> bool:
    """Whether two JSON values are equal down to the types of their numbers; the sign of zero may be lost."""
    if type(value) is not type(other):
        return False
    if isinstance(value, list):
        return len(value) == len(other) and all(map(is_same, value, other))
    if isinstance(value, dict):
        return value.keys() == other.keys() and all(is_same(value[key], other[key]) for key in value)
    return bool(value == other)


@each_example
@given(value=VALUES)
@example(value=EXTREMES)
@example(value={"a": [1, 1.0, True], "b": [0, 0.0, False], "c": [MAX_INTEGER, float(MAX_INTEGER), -MAX_INTEGER]})
def test_json_comes_back_as_it_was_written(database: Database, value: Any) -> None:
    row = read_back(database, notes={"value": value}, metrics={"value": value})
    assert is_same(row.notes["value"], value), (row.notes, value)
    assert is_same(row.metrics["value"], value), (row.metrics, value)


def test_none_in_a_json_column_is_null_to_sql(database: Database) -> None:
    row = read_back(database, values=None)
    assert row._mapping["values"] is None
    query = sa.select(tables.trial.c.id).where(tables.trial.c.id == "t1", tables.trial.c["values"].is_(None))
    assert database.read_sync(lambda connection: connection.execute(query).scalars().all()) == ["t1"]


@each_example
@given(value=st.floats(allow_nan=False, allow_infinity=False))
@example(value=1e23)
@example(value=5e-324)
@example(value=-1.7976931348623157e308)
def test_a_float_comes_back_alike_from_its_column_and_from_json(database: Database, value: float) -> None:
    row = read_back(database, value=value, values=[value])
    assert (type(row.value), row.value) == (float, value)
    assert (type(row._mapping["values"][0]), row._mapping["values"]) == (float, [value])
