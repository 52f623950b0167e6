"""fsck: a database with every kind of end is clean, and each invariant broken by raw SQL is reported."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from service.__main__ import main
from service.client import Client
from service.contract.attempt import FailureClass
from service.contract.log import LogRequest, Stream
from service.storage.database import Database, open_read_only
from service.storage.fsck.invariants import INVARIANTS, check
from service.usecases.maintenance.diagnosis import diagnose_due
from service.usecases.studies import lifecycle
from service.usecases.trials.logs import append_log
from tests.support.service import Service
from tests.usecases.replica import Replica, spec_of


async def _play(replica: Replica) -> None:
    """One study that ended with each kind of trial, one that is under way, one that was stopped."""
    name = await replica.create(name="ended", budget={"trials": 5})
    trained = await replica.train(name, 0.5, 0.25)
    await replica.predictions(trained, b"predicted")
    await replica.train(name, float("nan"))
    await replica.fail(await replica.claim(name), FailureClass.USER_EXCEPTION)
    pruned = await replica.claim(name)
    await replica.report(pruned, 1, 0.5, 0.75)
    await replica.finish(pruned, "pruned")
    lost = await replica.claim(name)
    await replica.report(lost, 1, 0.5)
    await replica.lose()
    await replica.train(name, 0.125)
    name = await replica.create(name="going", budget={"trials": 4})
    await replica.train(name, 0.5)
    running = await replica.claim(name)
    await replica.report(running, 1, 0.5, 0.25)
    await replica.checkpoint(running, 2)
    await replica.checkpoint(running, 2, batch=5)
    for offset in (0, 3):
        request = LogRequest.of(running.nonce, offset, b"abc")
        await append_log(replica.context, running.trial, running.attempt, Stream.STDOUT, request)
    released = await replica.claim(name)
    await replica.checkpoint(released, 0, batch=3)
    await replica.finish(released, "released")
    asha = {"pruner": {"name": "asha", "min": 1}, "resource": {"name": "epoch", "max": 9}, "budget": {"trials": 9}}
    name = await replica.create(name="climbing", **asha)
    for number in range(3):
        grant = await replica.claim(name)
        await replica.report(grant, 1, 0.5 + number / 10)
        await replica.checkpoint(grant, 1)
        await replica.finish(grant, "paused")
    await replica.finish(await replica.claim(name), "released")
    reviewed = {"name": "coarse_to_fine", "stages": [{"trials": 1}, {"trials": 1}], "review": True}
    name = await replica.create(name="reviewed", sampler=reviewed)
    await replica.train(name, 0.5)
    await replica.ask(name)
    name = await replica.create(name="forked", budget={"trials": 1})
    parent = await replica.claim(name)
    await replica.report(parent, 1, 0.5, 0.25)
    await replica.checkpoint(parent, 2)
    await replica.finish(parent)
    await replica.fork(name, 0, lr=0.05)
    fork = await replica.claim(name)
    await replica.report(fork, 1, 0.125, step=3)
    await replica.finish(fork, "released")
    name = await replica.create(name="stopped")
    await replica.fail(await replica.claim(name), FailureClass.WORKER_LOST)
    await lifecycle.stop_study(replica.context, name, "")
    while await diagnose_due(replica.context):  # a slow machine needs several rounds
        pass


@pytest.fixture(scope="module")
def played(opened_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Database:
    replica = Replica(opened_database)
    replica.open_blobs(tmp_path_factory.mktemp("blobs"))
    asyncio.run(_play(replica))
    return opened_database


@pytest.fixture
def spoilt(played: Database) -> Iterator[sa.Connection]:
    """A connection on which anything may be written: it is all taken back."""
    with played.writer.connect() as connection:
        yield connection
        connection.rollback()


def broken(connection: sa.Connection) -> set[str]:
    return {each.name for each in check(connection) if each.broken}


def test_a_database_that_only_the_service_wrote_is_clean(played: Database) -> None:
    assert [each for each in played.read_sync(check) if each.broken] == []


GOING = "(SELECT id FROM study WHERE name = 'going')"
ENDED = "(SELECT id FROM study WHERE name = 'ended')"
FIRST = f"(SELECT id FROM trial WHERE number = 0 AND study_id = {ENDED})"
CLIMBING = "(SELECT id FROM study WHERE name = 'climbing')"
RUNNING = "(SELECT trial_id FROM attempt WHERE state = 'running')"

FORK = "(SELECT id FROM trial WHERE kind = 'fork')"

PREDICTIONS = " WHERE kind = 'predictions'"

BREAKS = {
    "readable": [
        f"UPDATE study_spec SET spec = '[1]' WHERE study_id = {GOING}",
        f"UPDATE trial SET parameters = '[1]' WHERE number = 0 AND study_id = {ENDED}",
        f"UPDATE journal SET data = '[1]' WHERE revision = 1 AND study_id = {ENDED}",
        "UPDATE worker SET capabilities = '[1]'",
        f"UPDATE trial_diagnosis SET findings = '{{}}' WHERE trial_id = {FIRST}",
        f"UPDATE study_diagnosis SET findings = '{{}}' WHERE study_id = {GOING}",
    ],
    "numbers": [
        f"UPDATE study SET next_number = next_number + 1 WHERE id = {GOING}",
        f"UPDATE trial SET number = 99 WHERE number = 4 AND study_id = {ENDED}",
        f"UPDATE trial SET number = -1 WHERE number = 0 AND study_id = {ENDED}",
    ],
    "attempt_numbers": [f"UPDATE trial SET num_attempts = 3 WHERE number = 0 AND study_id = {ENDED}"],
    "running_trials": [
        f"UPDATE trial SET state = 'waiting' WHERE id = {RUNNING}",
        f"UPDATE attempt SET state = 'failed' WHERE trial_id = {RUNNING}",
        f"UPDATE trial SET num_attempts = 2 WHERE id = {RUNNING}",
    ],
    "leases": [
        "DELETE FROM lease",
        f"INSERT INTO lease SELECT trial_id, number, study_id, worker, 0, 0, 0 FROM attempt WHERE study_id = {ENDED}",
    ],
    "ended_attempts": [
        f"UPDATE attempt SET ended_at = NULL WHERE study_id = {ENDED}",
        f"UPDATE attempt SET ended_at = 1 WHERE trial_id = {RUNNING}",
    ],
    "finished_trials": [
        f"UPDATE trial SET finished_at = NULL WHERE study_id = {ENDED}",
        f"UPDATE trial SET finished_at = 1 WHERE id = {RUNNING}",
        f"UPDATE trial SET state = 'failed' WHERE id = {RUNNING}",
    ],
    "finished_studies": [
        f"UPDATE study SET finished_at = NULL WHERE id = {ENDED}",
        f"UPDATE study SET state = 'completed', finished_at = 1 WHERE id = {GOING}",
    ],
    "own_time": [
        f"UPDATE study SET active_since = NULL WHERE id = {GOING}",
        f"UPDATE study SET active_since = 1 WHERE id = {ENDED}",
    ],
    "reports": [
        f"UPDATE attempt SET num_reports = 3 WHERE study_id = {ENDED} AND num_reports = 2",
        f"UPDATE report SET sequence = 7 WHERE trial_id = {RUNNING} AND step = 2",
    ],
    "steps": [
        f"UPDATE report SET sequence = 3 - sequence WHERE trial_id = {FIRST}",
        f"UPDATE attempt SET last_step = 9 WHERE trial_id = {RUNNING}",
    ],
    "canonical": [f"UPDATE attempt SET resume_step = 1 WHERE number = 2 AND study_id = {ENDED}"],
    "verdicts": [
        f"DELETE FROM verdict WHERE trial_id IN (SELECT id FROM trial WHERE study_id = {ENDED})",
        f"UPDATE verdict SET sequence = 9 WHERE trial_id = {RUNNING}",
    ],
    "checkpoints": [
        f"UPDATE checkpoint SET step = 3 WHERE trial_id = {RUNNING} AND batch = 0",
        f"UPDATE checkpoint SET step = 3 WHERE trial_id = {RUNNING} AND batch > 0",
    ],
    "revisions": [
        *(f"UPDATE {table} SET revision = 999 WHERE study_id = {GOING}" for table in ("attempt", "study_spec")),
        f"UPDATE trial SET revision = 999 WHERE id = {RUNNING}",
        *(f"UPDATE {table} SET revision = 999" for table in ("report", "verdict", "checkpoint")),
        f"UPDATE study SET revision = 1 WHERE id = {GOING}",
    ],
    "journal_order": ["DELETE FROM journal WHERE ordinal = 0 AND kind = 'attempt_succeeded'"],
    "journal_begin": [f"DELETE FROM journal WHERE study_id = {GOING}"],
    "journal_states": [
        f"UPDATE trial SET state = 'failed' WHERE state = 'completed' AND study_id = {ENDED}",
        f"UPDATE attempt SET state = 'released' WHERE state = 'failed' AND study_id = {ENDED}",
        f"UPDATE study SET state = 'paused' WHERE id = {GOING}",
    ],
    "predictions": [
        f"UPDATE artifact SET trial_id = {RUNNING}" + PREDICTIONS,
        "INSERT INTO artifact SELECT 'twice', study_id, trial_id, attempt, kind, '', '', 1, '', 1 FROM artifact"
        + PREDICTIONS,
    ],
    "specs": [
        f"UPDATE study SET spec_version = 2 WHERE id = {GOING}",
        f"UPDATE trial SET spec_version = 2 WHERE study_id = {ENDED}",
    ],
    "reviews": ["DELETE FROM stage WHERE review = 'proposed'"],
    "owners": [
        f"UPDATE attempt SET study_id = {ENDED} WHERE trial_id = {RUNNING}",
        f"UPDATE lease SET study_id = {ENDED}",
    ],
    "paused_trials": [
        f"DELETE FROM checkpoint WHERE trial_id IN (SELECT id FROM trial WHERE study_id = {CLIMBING})",
        f"UPDATE trial SET run_until = 3 WHERE state = 'paused' AND study_id = {CLIMBING}",
    ],
    "rung_results": [
        f"UPDATE trial SET rung_results = '{each}' WHERE number = 0 AND study_id = {CLIMBING}"
        for each in (
            '[{"step": 2, "value": 0.5, "rank": 1, "num": 1}]',
            '[{"step": 9, "value": 0.5, "rank": 1, "num": 1}]',
            '[{"step": 1, "value": 0.5, "rank": 2, "num": 1}]',
            '[{"step": 3, "value": 0.5, "rank": 1, "num": 1}, {"step": 1, "value": 0.5, "rank": 1, "num": 1}]',
        )
    ],
    "places": [f"UPDATE trial SET run_until = 3 WHERE state = 'paused' AND study_id = {CLIMBING}"],
    "forks": [
        "UPDATE trial SET parent_id = NULL WHERE kind = 'fork'",
        f"UPDATE trial SET parent_id = {RUNNING} WHERE kind = 'fork'",
        "UPDATE trial SET parent_step = NULL WHERE kind = 'fork'",
        f"UPDATE trial SET parent_id = {RUNNING}, parent_step = 1 WHERE number = 1 AND study_id = {GOING}",
        f"UPDATE report SET step = 2 WHERE trial_id = {FORK}",
        f"UPDATE attempt SET resume_step = NULL WHERE trial_id = {FORK}",
    ],
    "diagnoses": [
        f"UPDATE study_diagnosis SET judged_revision = 999 WHERE study_id = {GOING}",
        f"UPDATE trial_diagnosis SET trial_revision = 999 WHERE trial_id = {RUNNING}",
        f"UPDATE trial_diagnosis SET trial_revision = 0 WHERE trial_id = {RUNNING}",
        f"UPDATE trial_diagnosis SET study_id = {GOING} WHERE trial_id = {FIRST}",
        f"DELETE FROM trial_diagnosis WHERE trial_id = {FIRST}",
    ],
    "deleted": [f"UPDATE study SET deleted_at = 0 WHERE id = {GOING}"],
    "logs": ["UPDATE log_chunk SET start_offset = 1 WHERE start_offset = 3"],
    "values": [
        f"UPDATE trial SET value = 0.75 WHERE number = 0 AND study_id = {ENDED}",
        f"UPDATE trial SET value = NULL WHERE state = 'pruned' AND value IS NOT NULL AND study_id = {ENDED}",
        f"UPDATE trial SET value = 0.5 WHERE state = 'failed' AND study_id = {ENDED}",
        f"UPDATE trial SET value = 0.25 WHERE id = {RUNNING}",
        f"UPDATE report SET value = 0.75 WHERE step = 2 AND trial_id = {FIRST}",
    ],
}


@pytest.mark.parametrize(("name", "statement"), [(name, each) for name, all_ in BREAKS.items() for each in all_])
def test_a_broken_invariant_is_named(spoilt: sa.Connection, name: str, statement: str) -> None:
    assert spoilt.exec_driver_sql(statement).rowcount > 0
    assert name in broken(spoilt)


def test_rows_that_break_an_invariant_are_shown(spoilt: sa.Connection) -> None:
    spoilt.exec_driver_sql("DELETE FROM lease")
    (found,) = [each for each in check(spoilt) if each.broken]
    assert found.name == "leases"
    assert found.broken == [{"study": "going", "trial": 1, "attempt": 1, "state": "running"}]


def test_every_invariant_is_broken_somewhere_here() -> None:
    assert set(BREAKS) | {"owned", "foreign_keys", "integrity"} == {each.name for each in INVARIANTS}


def test_a_row_that_refers_to_none(sqlite_template: Path, tmp_path: Path) -> None:
    path = tmp_path / "orphan.db"
    with contextlib.closing(sqlite3.connect(shutil.copy(sqlite_template, path), isolation_level=None)) as raw:
        raw.execute("INSERT INTO study_spec VALUES ('nobody', 1, '{}', 0, 0)")
    with open_read_only(str(path)) as connection:
        assert broken(connection) == {"owned", "foreign_keys"}


def test_a_file_that_is_damaged(sqlite_template: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.db"
    with contextlib.closing(sqlite3.connect(shutil.copy(sqlite_template, path), isolation_level=None)) as raw:
        raw.execute("INSERT INTO worker VALUES ('w', 'h', '{}', 1, 0, 0, NULL, NULL)")
        (page,) = raw.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_worker_1'").fetchone()
        (size,) = raw.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek(page * size - 2)  # the last bytes of the index hold its one entry
        file.write(b"xx")
    with open_read_only(str(path)) as connection:
        assert broken(connection) == {"integrity"}


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def carry_out(*arguments: str) -> tuple[int, str, str]:
        status = main(list(arguments))
        said = capsys.readouterr()
        return status, said.out, said.err

    return carry_out


def test_fsck_says_each_invariant_and_succeeds(command: Callable[..., tuple[int, str, str]], service: Service) -> None:
    """While the service is at work on the file."""
    with Client(service.url) as client:
        client.create_study(spec_of())
    before = service.database.read_bytes()
    status, out, _ = command("fsck", "--database", str(service.database))
    assert status == 0
    assert [line.split()[:2] for line in out.splitlines()] == [["ok", f"{each.name}:"] for each in INVARIANTS]
    assert service.database.read_bytes() == before


def test_fsck_names_what_is_wrong_and_fails(
    command: Callable[..., tuple[int, str, str]], played: Database, database_url: str
) -> None:
    with played.writer.begin() as connection:
        (before,) = connection.exec_driver_sql(f"SELECT next_number FROM study WHERE id = {GOING}").one()
        connection.exec_driver_sql(f"UPDATE study SET next_number = 7 WHERE id = {GOING}")
    try:
        status, out, _ = command("fsck", "--database", database_url)
        assert status == 1
        lines = out.splitlines()
        assert lines[0].startswith("BROKEN  numbers: search trials are numbered")
        assert lines[1] == "        study going, next_number 7, num_trials 3, highest 2"
        assert all(line.startswith("ok") for line in lines[2:])
        status, out, _ = command("fsck", "--json", "--database", database_url)
        assert status == 1
        told = {each["name"]: each["broken"] for each in json.loads(out)}
        assert told.pop("numbers") == [{"study": "going", "next_number": 7, "num_trials": 3, "highest": 2}]
        assert not any(told.values())
    finally:
        with played.writer.begin() as connection:
            connection.exec_driver_sql(f"UPDATE study SET next_number = {before} WHERE id = {GOING}")


def test_fsck_of_what_is_no_database_of_ours(command: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere.db"
    status, out, error = command("fsck", "--database", str(nowhere))
    assert (status, out) == (1, "")
    assert error == f"assayer: cannot open {nowhere}: there is no such file; name the database with --database\n"
    assert list(tmp_path.iterdir()) == []
    sqlite3.connect(tmp_path / "empty.db").close()
    status, _, error = command("fsck", "--database", str(tmp_path / "empty.db"))
    assert status == 1
    assert "schema is (none)" in error
