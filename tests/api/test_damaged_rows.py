"""Damaged rows: every listing shows them as damaged beside the intact ones, and `assayer fsck` names them."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from service.__main__ import main as service_main
from service.cli.main import main as study_main
from service.contract.custom_entries import EntriesRequest
from service.contract.report import Point, ReportRequest
from service.contract.trial import TrialState
from service.storage.blobs import BlobStore
from service.storage.database import Database
from service.storage.fsck.invariants import check
from service.usecases.attempts.report import report
from service.usecases.catalogue import register_entries
from tests.api.conftest import application
from tests.support.databases import DIALECTS
from tests.support.service import Service
from tests.usecases.replica import Replica, claim_request
from tests.usecases.studies.test_teachers import taught

pytestmark = pytest.mark.anyio

SICK = "(SELECT id FROM study WHERE name = 'sick')"
TRIAL = f"id = (SELECT id FROM trial WHERE number = 0 AND study_id = {SICK})"
SEVERAL = [{"metric": "loss", "direction": "minimize"}, {"metric": "size", "direction": "minimize"}]
BOTH = ("sqlite", "postgresql")

MOVING = {"budget_used": None, "no_worker_reason": None}
"""What follows from the time, or from the workers that are there."""

WHOLE_STUDY = "", "/trials", "/events", "/forks", "/predictions", "/importance", "/stages", "/diagnosis"


@dataclass(frozen=True)
class Damage:
    """What is done to the database, on which, and where it shows."""

    name: str
    statement: str
    shown: str
    """The listing that shows the row as damaged; below the study where it begins with a slash."""
    dialects: tuple[str, ...] = BOTH
    problems: tuple[str, ...] = ()
    """What of the damaged study answers one clear problem; below the study."""


OF_SPEC = "", "/best", "/front", "/predictions", "/importance", "/stages"

DAMAGES = [
    Damage("spec-is-no-spec", f"UPDATE study_spec SET spec = '[1]' WHERE study_id = {SICK}", "studies", BOTH, OF_SPEC),
    Damage(
        "spec-lacks-a-field",
        f'UPDATE study_spec SET spec = \'{{"name": "sick"}}\' WHERE study_id = {SICK}',
        "studies",
        BOTH,
        OF_SPEC,
    ),
    Damage("spec-is-gone", f"DELETE FROM study_spec WHERE study_id = {SICK}", "studies", BOTH, OF_SPEC),
    Damage(
        "spec-is-no-json",
        f"UPDATE study_spec SET spec = '{{\"na' WHERE study_id = {SICK}",
        "studies",
        ("sqlite",),
        OF_SPEC,
    ),
    Damage(
        "spec-is-no-text",
        f"UPDATE study_spec SET spec = CAST(x'7b22ff' AS TEXT) WHERE study_id = {SICK}",
        "studies",
        ("sqlite",),
        OF_SPEC,
    ),
    Damage(
        "reason-of-a-study-is-no-text",
        f"UPDATE study SET state_reason = CAST(x'ff' AS TEXT) WHERE id = {SICK}",
        "studies",
        ("sqlite",),
        ("",),
    ),
    Damage(
        "pause-cause-is-unknown",
        f"UPDATE study SET state = 'paused', pause_cause = 'x' WHERE id = {SICK}",
        "studies",
        BOTH,
        ("",),
    ),
    Damage(
        "instant-of-a-study-is-a-word",
        f"UPDATE study SET created_at = 'x' WHERE id = {SICK}",
        "studies",
        ("sqlite",),
        ("",),
    ),
    Damage("parameters-are-a-list", f"UPDATE trial SET parameters = '[1]' WHERE {TRIAL}", "/trials"),
    Damage("parameters-are-no-json", f"UPDATE trial SET parameters = '{{' WHERE {TRIAL}", "/trials", ("sqlite",)),
    Damage("a-parameter-is-null", f"UPDATE trial SET parameters = '{{\"lr\": null}}' WHERE {TRIAL}", "/trials"),
    Damage("values-are-words", f'UPDATE trial SET "values" = \'["x"]\' WHERE {TRIAL}', "/trials"),
    Damage("values-are-no-json", f"UPDATE trial SET \"values\" = '[' WHERE {TRIAL}", "/trials", ("sqlite",)),
    Damage("metrics-are-a-list", f"UPDATE trial SET metrics = '[]' WHERE {TRIAL}", "/trials"),
    Damage("rung-results-are-a-number", f"UPDATE trial SET rung_results = '1' WHERE {TRIAL}", "/trials"),
    Damage(
        "reason-is-no-text",
        f"UPDATE trial SET suggestion_reason = CAST(x'c328' AS TEXT) WHERE {TRIAL}",
        "/trials",
        ("sqlite",),
    ),
    Damage("instant-is-a-word", f"UPDATE trial SET created_at = 'x' WHERE {TRIAL}", "/trials", ("sqlite",)),
    Damage(
        "instant-is-beyond-the-calendar", f"UPDATE trial SET created_at = 9223372036854775807 WHERE {TRIAL}", "/trials"
    ),
    Damage(
        "number-of-attempts-is-a-word", f"UPDATE trial SET num_attempts = 'x' WHERE {TRIAL}", "/trials", ("sqlite",)
    ),
    Damage(
        "parameters-of-a-fork",
        f"UPDATE trial SET parameters = '[1]' WHERE kind = 'fork' AND study_id = {SICK}",
        "/forks",
    ),
    Damage("event-holds-a-list", f"UPDATE journal SET data = '[]' WHERE revision = 1 AND study_id = {SICK}", "/events"),
    Damage(
        "event-is-no-json",
        f"UPDATE journal SET data = 'x' WHERE revision = 1 AND study_id = {SICK}",
        "/events",
        ("sqlite",),
    ),
    Damage("capabilities-are-a-list", "UPDATE worker SET capabilities = '[]' WHERE name = 'v'", "workers"),
    Damage("capabilities-are-no-json", "UPDATE worker SET capabilities = '' WHERE name = 'v'", "workers", ("sqlite",)),
    Damage("host-is-no-text", "UPDATE worker SET host = CAST(x'ff' AS TEXT) WHERE name = 'v'", "workers", ("sqlite",)),
    Damage("entry-is-a-list", "UPDATE custom_entry SET description = '[]' WHERE name = 'mine'", "catalogue"),
    Damage(
        "entry-is-no-json", "UPDATE custom_entry SET description = '{' WHERE name = 'mine'", "catalogue", ("sqlite",)
    ),
]


async def fill(replica: Replica) -> None:
    """A sick and a healthy study with completed trials, forks and predictions, two with a front; workers; an entry."""
    for name in ("sick", "healthy"):
        await replica.create(name=name, budget={"trials": 9})
        trained = await replica.claim(name)
        await replica.report(trained, 1, 0.25, 0.125)
        await replica.checkpoint(trained, 2)
        await replica.finish(trained)
        await replica.predictions(trained, name.encode())
        await replica.train(name, 0.5)
        await replica.fork(name, 0, lr=0.05)
    await replica.ask("healthy", worker="v", host="there")
    own = {"worker": "v", "registries": {"model": {"mine": {"description": "a model"}}}}
    await register_entries(replica.context, EntriesRequest.model_validate(own))


@pytest.fixture
async def filled(database: Database, tmp_path: Path) -> Replica:
    replica = Replica(database)
    replica.open_blobs(tmp_path / "blobs")
    await fill(replica)
    return replica


@pytest.fixture
def app(filled: Replica, tmp_path: Path) -> FastAPI:
    return application(filled.database, BlobStore(tmp_path / "blobs"))


def spoil(database: Database, statement: str) -> None:
    with database.writer.begin() as connection:
        if connection.dialect.name == "sqlite":
            # A broken disk asks no constraint.
            connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
        connection.exec_driver_sql(statement)


def in_postgres(statement: str) -> str:
    """The statement with bytes cast to text as Postgres writes that."""
    return re.sub(r"CAST\(x'([0-9a-f]+)' AS TEXT\)", r"convert_from('\\x\1', 'UTF8')", statement)


async def answer(http: httpx.AsyncClient, path: str) -> Any:
    response = await http.get(path)
    assert response.status_code == 200, f"{path}: {response.text}"
    return response.json()


async def test_a_database_refuses_what_cannot_damage_it(filled: Replica) -> None:
    refused = [damage for damage in DAMAGES if filled.database.dialect.name not in damage.dialects]
    assert bool(refused) == (filled.database.dialect.name == "postgresql")
    for damage in refused:
        with pytest.raises(sa.exc.DBAPIError):
            spoil(filled.database, in_postgres(damage.statement))


@pytest.mark.parametrize(
    ("database_url", "damage"),
    [(dialect, damage) for dialect in DIALECTS for damage in DAMAGES if dialect in damage.dialects],
    ids=lambda each: each.name if isinstance(each, Damage) else each,
    indirect=["database_url"],
)
async def test_listings_survive_a_damaged_row(http: httpx.AsyncClient, filled: Replica, damage: Damage) -> None:
    before = {path: await answer(http, f"/studies/healthy{path}") for path in (*WHOLE_STUDY, "/best")}
    spoil(filled.database, damage.statement)
    for path, whole in before.items():
        now = await answer(http, f"/studies/healthy{path}")
        assert {**now, **MOVING} == {**whole, **MOVING}, path
    for path in (*WHOLE_STUDY, "/best"):
        response = await http.get(f"/studies/sick{path}")
        if path in damage.problems:
            said = response.json()
            assert (response.status_code, said["code"]) == (500, "damaged_data"), path
            assert "sick" in said["detail"]
            assert "assayer fsck" in said["detail"]
            assert "\n" not in said["detail"]
        else:
            assert response.status_code == 200, (path, response.text)
    listed = await answer(http, "/studies")
    workers = await answer(http, "/workers")
    catalogue = await answer(http, "/catalogue")
    assert "healthy" in {each["name"] for each in listed["studies"]}
    assert "w" in {each["name"] for each in workers["workers"]}
    shown = {"studies": listed, "workers": workers, "catalogue": catalogue}
    at = shown.get(damage.shown) or await answer(http, f"/studies/sick{damage.shown}")
    (row,) = at["damaged"]
    assert row["name"]
    assert row["reason"]
    found = {each.name: each.broken for each in filled.database.read_sync(check)}
    assert found["readable"], damage.name


async def test_a_damaged_best_trial_gives_way_to_the_next(http: httpx.AsyncClient, filled: Replica) -> None:
    spoil(filled.database, f"UPDATE trial SET parameters = '[1]' WHERE {TRIAL}")
    study = await answer(http, "/studies/sick")
    assert study["best"]["number"] == 1
    assert study["num_trials"]["completed"] == 2
    assert (await answer(http, "/studies/sick/best"))["number"] == 1
    assert [each["number"] for each in (await answer(http, "/studies/sick/trials"))["trials"]] == [1]
    response = await http.get("/studies/sick/trials/0")
    assert (response.status_code, response.json()["code"]) == (500, "damaged_data")


async def test_a_damaged_trial_leaves_the_front_of_the_others(http: httpx.AsyncClient, filled: Replica) -> None:
    await filled.create(name="several", objective=SEVERAL, space={"a": {"type": "float", "low": 0, "high": 1}})
    for loss, size in ((0.1, 2.0), (0.2, 1.0)):
        grant = await filled.claim("several")
        point = Point(step=1, metrics={"loss": loss, "size": size})
        request = ReportRequest(nonce=grant.nonce, sequence=1, points=[point])
        await report(filled.context, grant.trial, grant.attempt, request)
        await filled.finish(grant)
    number = "number = 0 AND study_id = (SELECT id FROM study WHERE name = 'several')"
    spoil(filled.database, f'UPDATE trial SET "values" = \'["x"]\' WHERE {number}')
    assert [each["number"] for each in (await answer(http, "/studies/several/front"))["trials"]] == [1]
    assert (await answer(http, "/studies/several"))["pareto_front"] == [1]


async def test_a_damaged_worker_keeps_no_other_from_its_trials(filled: Replica) -> None:
    spoil(filled.database, "UPDATE worker SET capabilities = '[]' WHERE name = 'v'")
    for _ in range(3):
        await filled.train("healthy", 0.5)
    assert (await filled.study("healthy")).state == "active"


async def test_the_search_continues_without_a_damaged_trial(filled: Replica) -> None:
    spoil(filled.database, f"UPDATE trial SET parameters = '[1]' WHERE {TRIAL}")
    replica = Replica(filled.database)
    assert (await replica.claim("sick")).number is None  # the fork
    await replica.train("sick", 0.5)
    assert (await filled.study("sick")).num_trials[TrialState.COMPLETED] == 3


async def test_the_stream_survives_a_damaged_study(
    http: httpx.AsyncClient, filled: Replica, connect: Callable[..., httpx.AsyncClient]
) -> None:
    spoil(filled.database, f"DELETE FROM study_spec WHERE study_id = {SICK}")
    spoil(filled.database, "UPDATE study SET state = 'completed' WHERE name = 'sick'")
    # It ends, as the study has.
    assert '"state": "completed"' in (await http.get("/studies/sick/stream")).text


async def test_commands_survive_damaged_rows(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> tuple[int, str, str]:
        status = study_main([*words, "--server", service.url])
        said = capsys.readouterr()
        return status, said.out, said.err

    async with httpx.AsyncClient(base_url=f"{service.url}/api/v1") as http:
        for name in ("sick", "healthy"):
            spec = {
                "name": name,
                "objective": {"metric": "loss", "direction": "minimize"},
                "space": {"a": {"type": "float", "low": 0, "high": 1}},
                "budget": {"trials": 3},
            }
            assert (await http.post("/studies", json=spec)).status_code == 201
            for number in range(2):
                claim = claim_request(name, worker=f"w{number}")
                granted = await http.post("/claims", json=claim.model_dump(mode="json"))
                assert granted.json()["number"] == number
    with contextlib.closing(sqlite3.connect(service.database)) as raw, raw:
        raw.execute("UPDATE trial SET parameters = '{' WHERE number = 0")
        raw.execute("UPDATE worker SET capabilities = '[]' WHERE name = 'w0'")
    assert run("trials", "sick")[0] == 0
    status, out, error = run("show", "sick")
    assert status == 0
    assert "damaged: trial 0 " in out + error
    status, out, error = run("workers")
    assert status == 0
    assert "w1" in out
    assert "damaged: worker w0 " in out + error
    with contextlib.closing(sqlite3.connect(service.database)) as raw, raw:
        raw.execute("UPDATE study_spec SET spec = '{' WHERE study_id = (SELECT id FROM study WHERE name = 'sick')")
    # It would go on showing what it has read before.
    service.stop()
    service.start()
    status, out, error = run("list")
    assert status == 0
    assert "healthy" in out
    assert "damaged: study sick " in out + error
    for command in ("show", "trials"):
        status, out, error = run(command, "sick")
        assert status != 0
        assert "Traceback" not in error
        assert "assayer fsck" in error
        assert run(command, "healthy")[0] == 0
    status = service_main(["fsck", "--database", str(service.database)])
    said = capsys.readouterr()
    assert status == 1
    assert "BROKEN  readable" in said.out
    assert "sick" in said.out


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # Postgres holds no JSON that cannot be parsed
async def test_a_report_and_a_finish_of_a_damaged_trial_say_so_at_once(
    http: httpx.AsyncClient, filled: Replica
) -> None:
    name = await filled.create()
    held = await filled.claim(name)
    spoil(filled.database, f"UPDATE trial SET parameters = '{{' WHERE id = '{held.trial}'")
    attempt, nonce = f"/trials/{held.trial}/attempts/{held.attempt}", {"nonce": held.nonce}
    points = [{"step": 1, "metrics": {"loss": 1}}]
    kept = {"step": 1, "sha256": "0" * 64, "size": 1, "uri": "file:///1"}
    for path, body in (
        ("reports", {"sequence": 1, "points": points}),
        ("checkpoints", {**kept, "reports": [{**nonce, "sequence": 1, "points": points}]}),
        ("finish", {"outcome": {"result": "succeeded"}}),
    ):
        response = await http.post(f"{attempt}/{path}", json=nonce | body)
        problem = response.json()
        assert (response.status_code, problem["code"]) == (500, "damaged_data"), path
        assert problem["detail"].startswith("trial 0 is damaged in the database: parameters is not JSON"), path
        assert "assayer fsck" in problem["detail"]
    assert (await filled.train("healthy", 0.5)).study_name == "healthy"


async def test_a_study_that_names_one_with_a_damaged_spec_is_refused_by_the_field(
    http: httpx.AsyncClient, filled: Replica
) -> None:
    spoil(
        filled.database,
        "UPDATE study_spec SET spec = '[1]' WHERE study_id = (SELECT id FROM study WHERE name = 'sick')",
    )
    view = await answer(http, "/studies/healthy")
    learned = {**view["spec"], "name": "new", "sampler": {"name": "tpe"}, "warm_start": ["sick"]}
    distilled = {"name": "new", "budget": {"trials": 3}, **taught("sick/0")}
    edit = {"spec": {**learned, "name": "healthy"}, "version": view["spec_version"]}
    for method, path, body, field in (
        ("POST", "/studies", learned, "warm_start.0"),
        ("POST", "/studies/check", learned, "warm_start.0"),
        ("POST", "/studies/plan", learned, "warm_start.0"),
        ("POST", "/studies", distilled, "task.train.loss.teacher"),
    ):
        response = await http.request(method, path, json=body)
        problem = response.json()
        assert (response.status_code, problem["code"]) == (422, "invalid_spec"), (path, problem)
        assert [each["path"] for each in problem["errors"]] == [field], path
        assert "sick" in problem["detail"], path
        assert "assayer fsck" in problem["detail"], path
    response = await http.put("/studies/healthy/spec", json=edit)
    assert response.status_code < 500, response.text
