"""Queries for strategies and readers: the canonical series, an updated history, and changed trials."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.domain.history import History
from service.storage import tables
from service.storage.database import Database
from service.storage.queries import history, series, studies, trials
from service.storage.unit_of_work import Transactor, UnitOfWork
from tests.search.studies import study
from tests.storage.rows import ATTEMPT, REPORT, STUDY, TRIAL, put, put_attempt

Told = list[tuple[int, int, float]]
"""Attempt, step, value."""


def canonical(database: Database) -> list[tuple[int, float]]:
    rows = database.read_sync(lambda connection: series.canonical(connection, ["t0"], ["loss"]))
    return [(row.step, series.value_of(row)) for row in rows]


def tell(connection: sa.Connection, told: Told) -> None:
    for attempt, step, value in told:
        put(connection, tables.report, REPORT, attempt=attempt, step=step, value=value)


def test_after_a_resume_older_rows_above_it_do_not_count(database: Database) -> None:
    with database.writer.begin() as connection:
        put_attempt(connection)
        tell(connection, [(1, step, 1.0) for step in (1, 2, 3, 4, 5)])
        put(connection, tables.attempt, ATTEMPT, number=2, resume_step=3)
        tell(connection, [(2, 4, 2.0)])
    assert canonical(database) == [(1, 1.0), (2, 1.0), (3, 1.0), (4, 2.0)]
    with database.writer.begin() as connection:
        put(connection, tables.attempt, ATTEMPT, number=3, resume_step=2)
        tell(connection, [(3, 3, 3.0)])
    assert canonical(database) == [(1, 1.0), (2, 1.0), (3, 3.0)]
    with database.writer.connect() as connection:
        assert len(connection.execute(sa.select(tables.report)).all()) == 7


def test_an_attempt_that_starts_afresh_leaves_nothing_of_the_older_ones(database: Database) -> None:
    with database.writer.begin() as connection:
        put_attempt(connection)
        tell(connection, [(1, step, 1.0) for step in (0, 1, 2)])
        put(connection, tables.attempt, ATTEMPT, number=2)
    assert canonical(database) == []


@pytest.mark.parametrize("status", ["nan", "inf", "-inf"])
def test_a_value_that_is_not_finite_keeps_its_kind(database: Database, status: str) -> None:
    with database.writer.begin() as connection:
        put_attempt(connection)
        put(connection, tables.report, REPORT, value=None, status=status)
    ((_, value),) = canonical(database)
    assert str(value) == status


@pytest.mark.parametrize("value", [0.1 + 0.2, 1e-300, 1.7976931348623157e308, 5e-324])
def test_a_finite_value_comes_back_to_the_last_bit(database: Database, value: float) -> None:
    with database.writer.begin() as connection:
        put_attempt(connection)
        tell(connection, [(1, 1, value)])
    assert canonical(database) == [(1, value)]


MOVES = st.lists(
    st.tuples(st.sampled_from(["begin", "report", "end", "resume", "look"]), st.integers(0, 4)), min_size=1, max_size=25
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=MOVES)
def test_a_history_brought_up_to_date_is_the_one_read_afresh(database: Database, moves: list[tuple[str, int]]) -> None:
    play = Play(database)
    known = History()
    for kind, number in moves:
        if kind == "look":
            known = play.refresh(known)
        else:
            play.move(kind, number)
    assert play.refresh(known) == play.refresh(History())


class Play:
    """A study of its own in which anything may happen to any trial."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.transact = Transactor(database, lambda: secrets.token_hex(16))
        self.study_id = secrets.token_hex(8)
        self.num_attempts: list[int] = []
        self.step = 0
        self.transact.run_sync(
            None,
            lambda unit_of_work: unit_of_work.insert(
                tables.study, **STUDY | {"id": self.study_id, "name": self.study_id}
            ),
        )

    def refresh(self, known: History) -> History:
        return self.database.read_sync(lambda connection: history.refresh(connection, self.study_id, "loss", known))

    def move(self, kind: str, number: int) -> None:
        if kind == "begin":
            self.transact.run_sync(self.study_id, self.begin)
        elif number < len(self.num_attempts):
            self.transact.run_sync(self.study_id, lambda unit_of_work: getattr(self, kind)(unit_of_work, number))

    def id(self, number: int) -> str:
        return f"{self.study_id}-{number}"

    def begin(self, unit_of_work: UnitOfWork) -> None:
        number = len(self.num_attempts)
        row = TRIAL | {"id": self.id(number), "number": number, "study_id": self.study_id}
        unit_of_work.insert(tables.trial, **row | {"revision": unit_of_work.revision})
        self.attempt(unit_of_work, number, 1)
        self.num_attempts.append(1)

    def attempt(self, unit_of_work: UnitOfWork, number: int, attempt: int, resume_step: int | None = None) -> None:
        row = ATTEMPT | {"trial_id": self.id(number), "study_id": self.study_id, "number": attempt}
        unit_of_work.insert(tables.attempt, **row | {"resume_step": resume_step})

    def report(self, unit_of_work: UnitOfWork, number: int) -> None:
        self.step += 1
        row = REPORT | {"trial_id": self.id(number), "attempt": self.num_attempts[number], "step": self.step}
        unit_of_work.insert(tables.report, **row)
        unit_of_work.set_trial(self.id(number), last_step=self.step)

    def end(self, unit_of_work: UnitOfWork, number: int) -> None:
        unit_of_work.set_trial(self.id(number), state="completed", value=float(number))

    def resume(self, unit_of_work: UnitOfWork, number: int) -> None:
        self.num_attempts[number] += 1
        self.attempt(unit_of_work, number, self.num_attempts[number], self.step // 2 or None)
        unit_of_work.set_trial(self.id(number), num_attempts=self.num_attempts[number])


def test_a_history_is_of_one_revision_even_where_a_newer_one_is_known(database: Database) -> None:
    """Readers overlap: the one with the older snapshot must not mix it with what the newer one saw."""
    play = Play(database)
    play.move("begin", 0)

    def look(connection: sa.Connection) -> tuple[History, History]:
        before = history.refresh(connection, play.study_id, "loss", History())
        play.move("begin", 0)
        newer = play.refresh(History())
        return before, history.refresh(connection, play.study_id, "loss", newer)

    before, after = database.read_sync(look)
    assert after == before
    assert len(after) == 1


def test_trials_that_changed_come_in_whole_revisions(database: Database) -> None:
    """Else those who share the last one's revision are never told of."""
    play = Play(database)
    for _ in range(3):
        play.move("begin", 0)

    def all_at_once(unit_of_work: UnitOfWork) -> None:
        for number in range(3):
            unit_of_work.set_trial(play.id(number), priority=1)

    play.transact.run_sync(play.study_id, all_at_once)
    play.move("begin", 0)

    def changed(since: int, limit: int) -> list[int]:
        rows = database.read_sync(lambda connection: trials.changed(connection, play.study_id, since, limit))
        return [row.number for row in rows]

    assert changed(0, 2) == [0, 1, 2]
    assert changed(0, 3) == [0, 1, 2]
    assert changed(0, 4) == [0, 1, 2, 3]
    assert changed(4, 2) == [3]
    assert changed(5, 2) == []


@pytest.mark.parametrize(("direction", "number"), [("maximize", 2), ("minimize", 0)])
def test_the_best_is_completed_and_the_earliest_of_equals(database: Database, direction: Any, number: int) -> None:
    values = [("completed", 1.0), ("failed", 0.0), ("completed", 3.0), ("completed", 3.0), ("pruned", 9.0)]
    with database.writer.begin() as connection:
        put(connection, tables.study, STUDY)
        for each, (state, value) in enumerate([*values, ("completed", None)]):
            put(connection, tables.trial, TRIAL, id=f"t{each}", number=each, state=state, value=value)
    spec = study(objective={"metric": "loss", "direction": direction})
    best = database.read_sync(lambda connection: trials.best(connection, "s1", spec))
    assert best is not None
    assert best.number == number


def test_a_study_is_found_by_id_by_name_and_by_project_and_name(database: Database) -> None:
    with database.writer.begin() as connection:
        put(connection, tables.study, STUDY)
        put(connection, tables.study, STUDY, id="s2", project="other")
        put(connection, tables.study, STUDY, id="s3", name="s1")

    def found(name: str) -> str | None:
        row = database.read_sync(lambda connection: studies.find(connection, name))
        return row.id if row is not None else None

    assert [found(name) for name in ("s1", "digits", "other/digits", "default/digits", "other/s1")] == [
        "s1",
        "s1",
        "s2",
        "s1",
        None,
    ]
