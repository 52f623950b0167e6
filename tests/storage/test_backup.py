"""`assayer backup` and `assayer restore`: a consistent copy under load, restored whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.__main__ import main
from service.client import Client
from service.client.errors import LeaseLost
from service.contract.base import TaskKind
from service.contract.capabilities import Capabilities
from service.contract.claim import ClaimRequest, Grant
from service.contract.report import Point, ReportRequest
from service.storage.database import open_read_only
from service.storage.fsck.invariants import check
from tests.support.databases import Postgres
from tests.support.service import Service, running_service
from tests.usecases.replica import spec_of
from tests.worker.waiting import eventually

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    def carry_out(*arguments: object) -> tuple[int, str]:
        status = main([str(argument) for argument in arguments])
        return status, capsys.readouterr().err.strip()

    return carry_out


def claim_of(client: Client, study: str, request_id: str = "a-claim-of-a-test") -> Grant:
    answer = client.claim(
        ClaimRequest(
            request_id=request_id,
            worker="w",
            capabilities=Capabilities(tasks=[TaskKind.EXTERNAL]),
            studies=[study],
        )
    )
    assert isinstance(answer, Grant)
    return answer


def report_of(grant: Grant, sequence: int) -> ReportRequest:
    return ReportRequest(
        nonce=grant.nonce, sequence=sequence, points=[Point(step=sequence, metrics={"loss": 1 / sequence})]
    )


@contextlib.contextmanager
def reporting(client: Client, grant: Grant) -> Iterator[list[int]]:
    """Report without a pause for the length of a block; gives the sequence numbers that were answered."""
    stopping, answered = threading.Event(), list[int]()

    def load() -> None:
        while not stopping.is_set():
            client.report(grant.trial, grant.attempt, report_of(grant, len(answered) + 1))
            answered.append(len(answered) + 1)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        assert eventually(lambda: answered)
        yield answered
    finally:
        stopping.set()
        thread.join()


@pytest.mark.prove
def test_a_backup_under_load_is_whole_and_a_restore_voids_the_leases(
    service: Service, command: Command, tmp_path: Path
) -> None:
    backup, other = tmp_path / "copy.backup", tmp_path / "other"
    other.mkdir()
    with Client(service.url) as client:
        study = client.create_study(spec_of())
        grant = claim_of(client, study.name)
        with reporting(client, grant):
            status, said = command("backup", backup, "--database", service.database)
        assert (status, said) == (0, f"assayer: sqlite:///{service.database} is backed up in {backup}")
        with open_read_only(str(backup)) as connection:
            assert not any(each.broken for each in check(connection))
    status, said = command("restore", backup, "--database", other / "assayer.db")
    assert status == 0
    assert said.endswith("begins epoch 2; 1 attempts were running, and their trials wait again")
    assert sorted(path.name for path in other.iterdir()) == ["assayer.db"]
    with running_service(other) as restored, Client(restored.url) as client:
        with pytest.raises(LeaseLost):
            client.report(grant.trial, grant.attempt, report_of(grant, 1))
        new = claim_of(client, study.name)
        assert (new.trial, new.attempt) == (grant.trial, 2)
        with open_read_only(str(restored.database)) as connection:
            assert not any(each.broken for each in check(connection))


@pytest.mark.prove
def test_an_existing_file_is_never_overwritten(sqlite_template: Path, command: Command, tmp_path: Path) -> None:
    target = tmp_path / "assayer.db"
    for name in ("assayer.db", "assayer.db-wal"):
        (tmp_path / name).write_text("mine")
        for arguments in (("backup", target, "--database", sqlite_template), ("restore", sqlite_template)):
            status, said = command(*arguments, *(["--database", target] if len(arguments) == 2 else []))
            assert status == 1
            assert said == f"assayer: {tmp_path / name} exists already; move it away first, or name another file"
        assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]
        (tmp_path / name).unlink()


@pytest.mark.prove
def test_a_failed_backup_leaves_nothing_behind(command: Command, tmp_path: Path) -> None:
    target = tmp_path / "assayer.db"
    (tmp_path / "text").write_text("not a database, but a text that is long enough to have a header. " * 20)
    sqlite3.connect(tmp_path / "empty").close()
    for name, reason in {
        "nowhere": "there is no such file",
        "text": "file is not a database",
        "empty": "it is not a database of this service",
    }.items():
        status, said = command("restore", tmp_path / name, "--database", target)
        assert status == 1
        assert said.startswith("assayer: ")
        assert reason in said
    assert {path.name for path in tmp_path.iterdir()} == {"text", "empty"}
    status, said = command("restore", "--database", target)
    assert (status, said) == (
        1,
        f"assayer: there is no database {target}; name the backup to restore: assayer restore FILE",
    )
    assert not target.exists()


@pytest.mark.prove
def test_a_database_that_another_command_put_back(sqlite_template: Path, command: Command, tmp_path: Path) -> None:
    target = tmp_path / "assayer.db"
    target.write_bytes(sqlite_template.read_bytes())
    status, said = command("restore", "--database", target)
    assert (status, said.split("; ")[0]) == (0, f"assayer: sqlite:///{target} is restored and begins epoch 2")


@pytest.fixture
def postgres_programs(postgres: Postgres) -> Path:
    """Where the server's own commands are, of its own version."""
    with postgres.admin.connect() as connection:
        where = "SELECT setting FROM pg_config WHERE name = 'BINDIR'"
        return Path(connection.exec_driver_sql(where).scalar_one())


def carry_out(command: str, programs: Path) -> None:
    """One of Postgres's own commands, as the service told it."""
    environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}
    done = subprocess.run(shlex.split(command), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.prove
def test_the_documented_postgres_backup_works_under_load_and_voids_leases(
    command: Command, postgres: Postgres, postgres_url: str, postgres_programs: Path, tmp_path: Path
) -> None:
    file = tmp_path / "copy.dump"
    with (
        running_service(tmp_path, database=postgres_url) as one,
        running_service(tmp_path, database=postgres_url) as other,
        Client(one.url) as client,
        Client(other.url) as other_client,
    ):
        study = client.create_study(spec_of())
        grant = claim_of(client, study.name)
        _, told = command("backup", file, "--database", postgres_url)
        with reporting(other_client, grant) as answered:
            num_before = len(answered)
            carry_out(told.partition(": ")[2].partition(": ")[2].partition(" (back: ")[0], postgres_programs)
            assert eventually(lambda: len(answered) > num_before)
    with postgres.database(postgres.empty) as url:
        back = told.partition(" (back: ")[2].partition(", then: ")[0]
        carry_out(back.replace("=URL ", f"={url} "), postgres_programs)
        shutil.copytree(tmp_path / "blobs", tmp_path / "brought" / "blobs")
        with (
            running_service(tmp_path / "brought", database=url) as one,
            running_service(tmp_path / "brought", database=url) as other,
            Client(one.url) as client,
            Client(other.url) as other_client,
        ):
            [series] = client.trial(study.name, 0).series
            assert series.steps == list(range(1, len(series.steps) + 1))
            assert num_before <= len(series.steps) <= len(answered)
            status, said = command("restore", "--database", url)
            assert status == 0
            assert said.endswith("begins epoch 2; 1 attempts were running, and their trials wait again")
            for each in (client, other_client):
                with pytest.raises(LeaseLost):
                    each.report(grant.trial, grant.attempt, report_of(grant, len(series.steps) + 1))
            new = claim_of(client, study.name)
            assert (new.trial, new.attempt) == (grant.trial, 2)
            other_client.report(new.trial, new.attempt, report_of(new, 1))
            with open_read_only(url) as connection:
                assert not any(each.broken for each in check(connection))


@pytest.mark.prove
def test_postgres_has_its_own_commands_and_then_ours(command: Command, postgres_url: str, tmp_path: Path) -> None:
    file = tmp_path / "copy.dump"
    status, said = command("backup", file, "--database", postgres_url)
    assert status == 1
    assert said.startswith(
        f"assayer: Postgres makes its own backups: pg_dump --format=custom --file={file} postgresql:"
    )
    status, said = command("restore", file, "--database", postgres_url)
    assert status == 1
    assert "pg_restore --dbname=postgresql:" in said
    assert command("restore", "--database", postgres_url)[0] == 0
