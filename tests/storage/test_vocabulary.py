"""The database accepts only words of the vocabulary and finite numbers."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest
import sqlalchemy as sa

from service.contract.attempt import FailureClass
from service.contract.report import Action
from service.contract.study import StudyState
from service.contract.trial import AttemptState, TrialKind, TrialState
from service.storage import tables
from service.storage.database import Database
from tests.storage.rows import REPORT, VERDICT, put, put_attempt

WORDS = [
    (tables.study, "state", StudyState),
    (tables.trial, "state", TrialState),
    (tables.trial, "kind", TrialKind),
    (tables.attempt, "state", AttemptState),
    (tables.attempt, "failure", FailureClass),
    (tables.verdict, "action", Action),
]


@pytest.mark.parametrize(("table", "column", "words"), WORDS, ids=str)
def test_a_column_takes_every_word_of_its_vocabulary_and_no_other(
    database: Database, table: sa.Table, column: str, words: type[StrEnum]
) -> None:
    with database.writer.connect() as connection:
        put_attempt(connection)
        put(connection, tables.verdict, VERDICT)
        for word in words:
            number = {"number": 0 if word == TrialKind.SEARCH else None} if column == "kind" else {}
            connection.execute(table.update().values({column: word} | number))
        with pytest.raises(sa.exc.IntegrityError):
            connection.execute(table.update().values({column: "running!"}))


@pytest.mark.parametrize(
    "row",
    [
        {"value": None, "status": None},
        {"value": 0.5, "status": "nan"},
        {"value": None, "status": "NaN"},
    ],
)
def test_a_value_is_a_number_or_a_status(database: Database, row: dict[str, Any]) -> None:
    with database.writer.connect() as connection:
        put_attempt(connection)
        with pytest.raises(sa.exc.IntegrityError):
            put(connection, tables.report, REPORT, **row)


@pytest.mark.parametrize(("kind", "number"), [("search", None), ("confirm", 3)])
def test_search_trials_alone_have_numbers(database: Database, kind: str, number: int | None) -> None:
    with database.writer.connect() as connection:
        put_attempt(connection)
        with pytest.raises(sa.exc.IntegrityError):
            connection.execute(tables.trial.update().values(kind=kind, number=number))
