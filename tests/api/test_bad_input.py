"""Bad input: every kind is a typed error with a remedy, and changes no row of any table."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from service.contract.attempt import CheckpointRequest, FinishRequest, HeartbeatRequest
from service.contract.claim import ClaimRequest, Grant
from service.contract.custom_entries import EntriesRequest
from service.contract.log import LogRequest
from service.contract.predictions import PredictionsRequest
from service.contract.problem import ErrorCode
from service.contract.report import ReportRequest
from service.storage import tables
from service.storage.blobs import BlobStore
from service.storage.database import Database
from tests.api.conftest import application
from tests.api.test_problems import problem
from tests.usecases.replica import Replica, spec_of

pytestmark = pytest.mark.anyio

CONTENT = b"weights of step 2"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = hashlib.sha256(b"weights of another step").hexdigest()

Call = tuple[str, str, dict[str, Any]]
"""Method, path, and what the request carries."""


@dataclass(frozen=True)
class Situation:
    """Attempts in every relation to their leases."""

    study: str
    running: Grant
    """It has reported loss 0.5 at step 1 and 0.4 at step 2, and registered a checkpoint of step 2."""
    superseded: Grant
    """It fell silent, and another attempt has its trial."""
    released: Grant
    """It gave its trial back, which waits."""
    completed: Grant


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path)


@pytest.fixture
def app(database: Database, blobs: BlobStore) -> FastAPI:
    return application(database, blobs)


@pytest.fixture
async def situation(database: Database, http: httpx.AsyncClient) -> Situation:
    replica = Replica(database)
    name = await replica.create(budget={"trials": 4})
    superseded = await replica.claim(name, worker="silent")
    assert await replica.lose() == 1
    await replica.claim(name)
    completed = await replica.train(name, 0.3)
    running = await replica.claim(name)
    await replica.report(running, 1, 0.5)
    await replica.report(running, 2, 0.4)
    assert (await http.put(f"/blobs/{SHA256}", content=CONTENT)).is_success
    assert (await http.post(path(running, "checkpoints"), json=checkpoint(running))).is_success
    released = await replica.claim(name)
    await replica.finish(released, "released")
    return Situation(name, running, superseded, released, completed)


def path(grant: Grant, call: str) -> str:
    return f"/trials/{grant.trial}/attempts/{grant.attempt}/{call}"


def report(grant: Grant, sequence: int, *points: tuple[int, float], **changes: Any) -> dict[str, Any]:
    told = [{"step": step, "metrics": {"loss": value}} for step, value in points]
    return {"nonce": grant.nonce, "sequence": sequence, "points": told} | changes


def checkpoint(grant: Grant, **changes: Any) -> dict[str, Any]:
    sha256 = changes.get("sha256", SHA256)
    whole = {"nonce": grant.nonce, "step": 2, "sha256": sha256, "size": len(CONTENT), "uri": f"blob:{sha256}"}
    return whole | changes


def predictions(grant: Grant, **changes: Any) -> dict[str, Any]:
    return {"nonce": grant.nonce, "sha256": SHA256, "size": len(CONTENT)} | changes


def finish(grant: Grant, result: str = "succeeded", **changes: Any) -> dict[str, Any]:
    return {"nonce": grant.nonce, "outcome": {"result": result}} | changes


def post(grant: Grant, call: str, body: dict[str, Any]) -> Call:
    return "POST", path(grant, call), {"json": body}


Bad = Callable[[Situation], Call]
Contradiction = tuple[ErrorCode, str, Bad]
KINDS = ["a finish without a lease", "a checkpoint whose hash is wrong", "predictions", "an edit"]

DROP = "drop the trial and claim another"
NAMED = "use the trial and the attempt of the grant"

STALE_TOKEN: dict[str, Bad] = {
    "a report of a superseded attempt": lambda s: post(s.superseded, "reports", report(s.superseded, 1, (1, 0.9))),
    "its checkpoint": lambda s: post(s.superseded, "checkpoints", checkpoint(s.superseded)),
    "its checkpoint with reports": lambda s: post(
        s.superseded, "checkpoints", checkpoint(s.superseded, reports=[report(s.superseded, 1, (2, 0.9))])
    ),
    "its finish": lambda s: post(s.superseded, "finish", finish(s.superseded)),
    "a report by a guessed nonce": lambda s: post(s.running, "reports", report(s.running, 3, (3, 0.9), nonce="guess")),
    "a checkpoint by a guessed nonce": lambda s: post(s.running, "checkpoints", checkpoint(s.running, nonce="guess")),
    "a finish by a guessed nonce": lambda s: post(s.running, "finish", finish(s.running, nonce="guess")),
    "a finish by another attempt's nonce": lambda s: post(
        s.running, "finish", finish(s.running, nonce=s.completed.nonce)
    ),
}
OTHER_VALUE: dict[str, Bad] = {
    "a known step in a new batch": lambda s: post(s.running, "reports", report(s.running, 3, (2, 0.9))),
    "a known batch": lambda s: post(s.running, "reports", report(s.running, 2, (2, 0.9))),
    "twice in one batch": lambda s: post(s.running, "reports", report(s.running, 3, (3, 0.3), (3, 0.9))),
    "after a step that is new": lambda s: post(
        s.running, "reports", report(s.running, 3, (2, 0.4), (2, 0.9), (3, 0.3))
    ),
    "along with a checkpoint": lambda s: post(
        s.running, "checkpoints", checkpoint(s.running, step=3, reports=[report(s.running, 3, (2, 0.9), (3, 0.3))])
    ),
    "in an attempt that has ended": lambda s: post(s.completed, "reports", report(s.completed, 1, (1, 0.9))),
}
WITHOUT_LEASE: dict[str, tuple[ErrorCode, str, Bad]] = {
    "of no trial": (
        ErrorCode.UNKNOWN_TRIAL,
        NAMED,
        lambda s: post(s.running.model_copy(update={"trial": "nowhere"}), "finish", finish(s.running)),
    ),
    "of an attempt that never was": (
        ErrorCode.UNKNOWN_ATTEMPT,
        NAMED,
        lambda s: post(s.running.model_copy(update={"attempt": 2}), "finish", finish(s.running)),
    ),
    "of a trial that was given back": (
        ErrorCode.ATTEMPT_ENDED,
        "drop it and claim another",
        lambda s: post(s.released, "finish", finish(s.released)),
    ),
    "of a trial that is completed, otherwise": (
        ErrorCode.ATTEMPT_ENDED,
        "drop it and claim another",
        lambda s: post(s.completed, "finish", finish(s.completed, "pruned")),
    ),
}
WRONG_HASH: dict[str, tuple[ErrorCode, str, Bad]] = {
    "content of another hash": (
        ErrorCode.BLOB_MISMATCH,
        "send the content again",
        lambda s: ("PUT", f"/blobs/{OTHER}", {"content": CONTENT}),
    ),
    "of a blob that was never uploaded": (
        ErrorCode.BLOB_MISSING,
        "upload it, then register it again",
        lambda s: post(
            s.running,
            "checkpoints",
            checkpoint(s.running, step=3, sha256=OTHER, reports=[report(s.running, 3, (3, 0.3))]),
        ),
    ),
    "of a blob of another size": (
        ErrorCode.BLOB_MISSING,
        "upload it, then register it again",
        lambda s: post(s.running, "checkpoints", checkpoint(s.running, step=1, size=len(CONTENT) + 1)),
    ),
    "another one for its step": (
        ErrorCode.REPORT_CONFLICT,
        "one checkpoint per step",
        lambda s: post(s.running, "checkpoints", checkpoint(s.running, sha256=OTHER, uri="file:///elsewhere")),
    ),
    "that names another blob": (
        ErrorCode.INVALID_REQUEST,
        f"write blob:{SHA256}",
        lambda s: post(s.running, "checkpoints", checkpoint(s.running, uri=f"blob:{OTHER}")),
    ),
    "that is none": (
        ErrorCode.INVALID_REQUEST,
        "sha256: ",
        lambda s: post(s.running, "checkpoints", checkpoint(s.running, sha256="ABC", uri="file:///elsewhere")),
    ),
}
PREDICTIONS: dict[str, tuple[ErrorCode, str, Bad]] = {
    "of a superseded attempt": (
        ErrorCode.LEASE_SUPERSEDED, DROP, lambda s: post(s.superseded, "predictions", predictions(s.superseded)),
    ),
    "by a guessed nonce": (
        ErrorCode.LEASE_SUPERSEDED, DROP, lambda s: post(s.completed, "predictions", predictions(s.running)),
    ),
    "of no trial": (
        ErrorCode.UNKNOWN_TRIAL,
        NAMED,
        lambda s: post(s.running.model_copy(update={"trial": "nowhere"}), "predictions", predictions(s.running)),
    ),
    "before the outcome": (
        ErrorCode.REPORT_ORDER, "finish it", lambda s: post(s.running, "predictions", predictions(s.running)),
    ),
    "that were never uploaded": (
        ErrorCode.BLOB_MISSING,
        "upload it, then register it again",
        lambda s: post(s.completed, "predictions", predictions(s.completed, sha256=OTHER)),
    ),
    "of another size": (
        ErrorCode.BLOB_MISSING,
        "upload it, then register it again",
        lambda s: post(s.completed, "predictions", predictions(s.completed, size=1)),
    ),
    "whose hash is none": (
        ErrorCode.INVALID_REQUEST,
        "sha256: ",
        lambda s: post(s.completed, "predictions", predictions(s.completed, sha256="ABC")),
    ),
    "and counts that are not square": (
        ErrorCode.INVALID_REQUEST,
        "splits.val must have 1 rows of 1 counts",
        lambda s: post(
            s.running,
            "finish",
            finish(
                s.running,
                outcome={"result": "succeeded", "confusion": {"classes": ["a"], "splits": {"val": [[1, 2]]}}},
            ),
        ),
    ),
}  # fmt: skip


def edit(s: Situation, *, version: int = 1, **changes: Any) -> Call:
    spec = spec_of(name=s.study, budget={"trials": 4}).model_dump(exclude_none=True) | changes
    return "PUT", f"/studies/{s.study}/spec", {"json": {"spec": spec, "version": version}}


EDIT: dict[str, tuple[ErrorCode, str, Bad]] = {
    "of a version that is not in force": (
        ErrorCode.STUDY_CHANGED,
        "see what changed (study show",
        lambda s: edit(s, version=2, priority=1),
    ),
    "of no version": (ErrorCode.INVALID_REQUEST, "version", lambda s: edit(s, version=0)),
    "of the objective": (
        ErrorCode.INVALID_SPEC,
        "create another study",
        lambda s: edit(s, objective={"metric": "accuracy", "direction": "maximize"}),
    ),
    "to a sampler that does not suit": (
        ErrorCode.INVALID_SPEC,
        "write points: 5",
        lambda s: edit(s, sampler={"name": "grid"}),
    ),
    "to what is no spec": (
        ErrorCode.INVALID_REQUEST,
        "spec.budget.trials: must be greater than or equal to 1",
        lambda s: edit(s, budget={"trials": 0}),
    ),
    "of a box that nobody proposed": (
        ErrorCode.STUDY_STATE,
        "none does",
        lambda s: ("POST", f"/studies/{s.study}/stages/1", {}),
    ),
    "of a box that is none": (
        ErrorCode.INVALID_REQUEST,
        "box.lr",
        lambda s: ("POST", f"/studies/{s.study}/stages/1", {"json": {"box": {"lr": 3}}}),
    ),
    "of a stage that has no number": (
        ErrorCode.INVALID_REQUEST,
        "number",
        lambda s: ("POST", f"/studies/{s.study}/stages/first", {}),
    ),
}


def told(worker: str = "w", **registries: Any) -> Call:
    return "PUT", "/entries", {"json": {"worker": worker, "registries": registries}}


def option(**setting: Any) -> dict[str, Any]:
    return {"mine": {"parameters": {"width": {"type": "int", "default": 8} | setting}}}


ENTRIES: dict[str, tuple[ErrorCode, str, Call]] = {
    "of a name that the core has": (ErrorCode.ENTRY_TAKEN, "give your entry another name", told(model={"mlp": {}})),
    "of no section": (ErrorCode.INVALID_REQUEST, "did you mean 'model'?", told(modle=option())),
    "of a worker without a name": (ErrorCode.INVALID_REQUEST, "worker: ", told(worker="", model=option())),
    "whose name is none": (ErrorCode.INVALID_REQUEST, "registries.model", told(model={"<lambda>": {}})),
    "whose name is too long": (ErrorCode.INVALID_REQUEST, "at most 64 characters", told(model={"n" * 65: {}})),
    "that is no mapping": (ErrorCode.INVALID_REQUEST, "must be a mapping", told(model={"mine": 3})),
    "with a field that nobody knows": (
        ErrorCode.INVALID_REQUEST,
        "did you mean 'description'?",
        told(model={"mine": {"descripion": "a net"}}),
    ),
    "with an option of no type": (
        ErrorCode.INVALID_REQUEST,
        "must be 'float', 'int'",
        told(model=option(type="number")),
    ),
    "with a bound that is none": (ErrorCode.INVALID_REQUEST, "width.low: ", told(model=option(low="one"))),
    "that is too large": (
        ErrorCode.INVALID_REQUEST,
        "describe it more briefly",
        told(model=option(description="x" * 40_000)),
    ),
    "too many": (ErrorCode.INVALID_REQUEST, "may hold 200 at most", told(model={f"net{n}": {} for n in range(10_000)})),
    "with what no text may hold": (ErrorCode.INVALID_REQUEST, "NUL", told(model=option(description="a\0b"))),
}
NOT_FINITE = '{"worker": "w", "registries": {"model": {"mine": {"facts": {"scale": NaN}}}}}'


class Everything:
    """All rows of all tables and all blobs, to compare before and after."""

    def __init__(self, database: Database, blobs: Path) -> None:
        self._database = database
        self._blobs = blobs

    def read(self) -> dict[str, list[str]]:
        def rows(connection: tables.Connection) -> dict[str, list[str]]:
            return {
                table.name: sorted(repr(tuple(row)) for row in connection.execute(table.select()))
                for table in tables.metadata.sorted_tables
            }

        kept = sorted(str(each) for each in self._blobs.rglob("*") if each.is_file())
        return self._database.read_sync(rows) | {"blobs": kept}


@pytest.fixture
def everything(database: Database, tmp_path: Path) -> Everything:
    return Everything(database, tmp_path)


async def refused(
    http: httpx.AsyncClient, everything: Everything, call: Call, code: ErrorCode, remedy: str, name: str = ""
) -> None:
    """Make a call that is refused and writes nothing, so that the next one finds what this one found."""
    before = everything.read()
    method, where, body = call
    said = problem(await http.request(method, where, **body))
    assert (said.code, everything.read()) == (code, before), name
    assert remedy in said.detail, name


async def test_a_stale_token(http: httpx.AsyncClient, everything: Everything, situation: Situation) -> None:
    for name, bad in STALE_TOKEN.items():
        await refused(http, everything, bad(situation), ErrorCode.LEASE_SUPERSEDED, DROP, name)


async def test_a_step_with_another_value(http: httpx.AsyncClient, everything: Everything, situation: Situation) -> None:
    for name, bad in OTHER_VALUE.items():
        remedy = "a step of an attempt has one value"
        await refused(http, everything, bad(situation), ErrorCode.REPORT_CONFLICT, remedy, name)


@pytest.mark.parametrize("calls", [WITHOUT_LEASE, WRONG_HASH, PREDICTIONS, EDIT], ids=KINDS)
async def test_a_call_that_contradicts_what_is_stored(
    http: httpx.AsyncClient, everything: Everything, situation: Situation, calls: Mapping[str, Contradiction]
) -> None:
    for name, (code, remedy, bad) in calls.items():
        await refused(http, everything, bad(situation), code, remedy, name)


async def test_an_entry(http: httpx.AsyncClient, everything: Everything) -> None:
    for name, (code, remedy, call) in ENTRIES.items():
        await refused(http, everything, call, code, remedy, name)


async def test_an_entry_with_a_number_that_json_has_not(http: httpx.AsyncClient, everything: Everything) -> None:
    call = "PUT", "/entries", {"content": NOT_FINITE, "headers": {"content-type": "application/json"}}
    await refused(http, everything, call, ErrorCode.INVALID_REQUEST, "the body holds NaN, which is not JSON")


async def test_a_heartbeat_with_a_stale_token_is_answered_and_renews_nothing(
    http: httpx.AsyncClient, everything: Everything, situation: Situation
) -> None:
    """It is asked for all leases of a host at once, so one that is gone is an answer, and no error for the others."""
    before = everything.read()
    leases = [
        {"trial": grant.trial, "attempt": grant.attempt, "nonce": nonce}
        for grant, nonce in ((situation.superseded, situation.superseded.nonce), (situation.running, "guess"))
    ]
    answer = (await http.post("/heartbeats", json={"worker": "nobody", "leases": leases})).json()
    assert [(each["held"], each["order"]) for each in answer["leases"]] == [(False, "stop")] * 2
    assert all("drop the trial" in each["reason"] for each in answer["leases"])
    assert everything.read() == before


SPOKEN_BY_WORKERS = [
    ClaimRequest,
    EntriesRequest,
    HeartbeatRequest,
    ReportRequest,
    CheckpointRequest,
    FinishRequest,
    LogRequest,
    PredictionsRequest,
]


@pytest.mark.parametrize("message", SPOKEN_BY_WORKERS)
def test_no_message_of_a_worker_tells_a_time(message: type[BaseModel]) -> None:
    """A worker's clock may be a day off: the service never hears of it."""
    for field in fields(message.model_json_schema()):
        assert not field.endswith(("_at", "_on", "_time", "_until", "_seconds")), field
        assert field not in {"at", "date", "deadline", "now", "time", "timestamp", "ts"}, field


def fields(schema: Any) -> set[str]:
    """The names of all fields, at any depth."""
    if isinstance(schema, list):
        return set().union(*map(fields, schema))
    if not isinstance(schema, dict):
        return set()
    return set(schema.get("properties", {})) | set().union(*map(fields, schema.values()))


async def test_a_time_that_a_worker_tells_is_refused(
    http: httpx.AsyncClient, everything: Everything, situation: Situation
) -> None:
    tomorrow = report(situation.running, 3, (3, 0.3), reported_at=4_102_444_800_000_000)
    await refused(
        http, everything, post(situation.running, "reports", tomorrow), ErrorCode.INVALID_REQUEST, "reported_at: "
    )
