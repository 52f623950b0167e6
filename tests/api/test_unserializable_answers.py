"""Unserializable answers: the write is rolled back and reported, for every write of the API on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from service.contract.attempt import CheckpointReply, FinishReply, LeaseStatus
from service.contract.claim import Grant
from service.contract.custom_entries import EntriesReply
from service.contract.log import LogReply
from service.contract.predictions import PredictionsReply
from service.contract.preflight_view import PreflightView
from service.contract.provenance import WarningsReply
from service.contract.report import Verdict
from service.contract.study import DeleteReply, EnqueueReply, StudyView
from service.contract.trial import TrialView
from service.contract.worker import WorkerView
from service.storage import tables
from service.storage.blobs import BlobStore
from service.storage.database import Database
from tests.api.conftest import application, connected
from tests.api.test_routes import SPEC, claim
from tests.usecases.replica import sha256_of

pytestmark = pytest.mark.anyio

WITHOUT_ANSWER = {
    "/studies/check", "/studies/plan", "/studies/{study}/replay", "/blobs/{sha256}",
}  # fmt: skip
"""Calls with a body that write no row."""
JUDGED = {Verdict, CheckpointReply, FinishReply}
"""Answers that depend on a study's strategy: where they fail, that study is paused."""


@contextmanager
def unserializable(model: type[BaseModel]) -> Iterator[None]:
    """Make each message of a model one that pydantic cannot write as JSON."""

    def fail(*_: Any, **__: Any) -> Any:
        raise ValueError("no JSON for this")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "model_dump_json", fail)
        yield


def rows(database: Database) -> dict[str, list[Any]]:
    """Everything that is stored, but when workers were seen."""
    with database.writer.begin() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(table.select()).mappings()))
            for table in tables.metadata.sorted_tables
            if table is not tables.worker
        }


class Writer:
    """Sends each write first while its answer cannot be serialised, and then as it should be."""

    def __init__(self, http: httpx.AsyncClient, database: Database) -> None:
        self.http, self.database = http, database
        self.sent: set[tuple[str, str]] = set()

    async def __call__(self, method: str, path: str, answer: type[BaseModel], body: Any = None, **keys: Any) -> Any:
        place = path.format(**keys)
        before = rows(self.database)
        with unserializable(answer):
            response = await self.http.request(method, place, json=body)
        problem = response.json()
        assert (response.status_code, problem["code"]) == (500, "unserializable"), (method, path, problem)
        assert f"the answer ({answer.__name__}) cannot be written as JSON" in problem["detail"]
        after = rows(self.database)
        if answer in JUDGED:
            (pause,) = set(after.pop("journal")) - set(before.pop("journal"))
            assert "study_paused" in pause
            assert after.pop("study") != before.pop("study")
            await self.send("POST", "/studies/digits/resume")
        assert after == before, (method, path)
        self.sent.add((method, path))
        return await self.send(method, place, body)

    async def send(self, method: str, place: str, body: Any = None) -> Any:
        response = await self.http.request(method, place, json=body)
        assert response.is_success, response.text
        return response.json()


@pytest.fixture
def app(database: Database, tmp_path: Path) -> FastAPI:
    return application(database, BlobStore(tmp_path))


@pytest.fixture
async def write(app: FastAPI, database: Database) -> AsyncIterator[Writer]:
    async with connected(app) as http:
        yield Writer(http, database)


async def test_of_every_write(write: Writer, app: FastAPI) -> None:
    study, trial, attempt = "/studies/{study}", "/studies/{study}/trials/{trial}", "/trials/{trial}/attempts/{attempt}"
    named = {"study": "digits"}
    reviewed = {"name": "coarse_to_fine", "stages": [{"trials": 2}, {"trials": 3}], "review": True}
    spec = SPEC | {"sampler": reviewed, "budget": {"trials": 5}}
    await write("POST", "/studies", StudyView, spec)
    await write("POST", f"{study}/pause", StudyView, **named)
    await write("POST", f"{study}/resume", StudyView, **named)
    await write("POST", f"{study}/enqueue", EnqueueReply, {"parameters": {"lr": 0.01}}, **named)
    tried = {"action": {"kind": "enqueue", "parameters": {"lr": 0.03}}, "version": 1, "rule": "r"}
    await write("POST", f"{study}/actions", EnqueueReply, tried, **named)
    entry = {"worker": "w", "registries": {"model": {"mine": {"parameters": {"width": {"type": "int", "default": 8}}}}}}
    await write("PUT", "/entries", EntriesReply, entry)

    # A claim goes on to other studies: the study whose grant cannot be told is paused, and that is all.
    with unserializable(Grant):
        nothing = await write.send("POST", "/claims", claim("request-0"))
    assert "the answer (Grant) cannot be written as JSON" in nothing["reason"]
    stored = rows(write.database)
    assert (stored["trial"], stored["attempt"], stored["lease"], stored["claim"]) == ([], [], [], [])
    await write.send("POST", "/studies/digits/resume")
    write.sent.add(("POST", "/claims"))

    grant = await write.send("POST", "/claims", claim("request-1"))
    held = {"trial": grant["trial"], "attempt": grant["attempt"]}
    nonce = {"nonce": grant["nonce"]}
    points = [{"step": 1, "metrics": {"loss": 1}}]
    await write("POST", f"{attempt}/provenance", WarningsReply, {**nonce, "data": "digits of 1998"}, **held)
    await write("POST", f"{attempt}/warnings", WarningsReply, {**nonce, "message": "hot"}, **held)
    await write(
        "POST",
        f"{attempt}/logs/{{stream}}",
        LogReply,
        {**nonce, "offset": 0, "content": "b25lCg=="},
        stream="stdout",
        **held,
    )
    await write("POST", "/heartbeats", LeaseStatus, {"worker": "w", "leases": [{**held, **nonce}]})

    await write("POST", f"{attempt}/reports", Verdict, {**nonce, "sequence": 1, "points": points}, **held)
    kept = {**nonce, "step": 1, "sha256": "0" * 64, "size": 1, "uri": "file:///1"}
    await write("POST", f"{attempt}/checkpoints", CheckpointReply, kept, **held)
    await write("POST", f"{attempt}/finish", FinishReply, {**nonce, "outcome": {"result": "succeeded"}}, **held)
    content = b"PAR1 and so on"
    assert (await write.http.put(f"/blobs/{sha256_of(content)}", content=content)).is_success
    predictions = {**nonce, "sha256": sha256_of(content), "size": len(content)}
    await write("POST", f"{attempt}/predictions", PredictionsReply, predictions, **held)
    await write("POST", f"{trial}/fork", TrialView, {"at": 1, "set": {"lr": 0.02}}, trial="0", **named)
    await write.send("POST", "/studies", SPEC | {"name": "own", "task": {"function": "my:train"}, "preflight": "off"})
    await write("POST", f"{study}/preflight", PreflightView, study="own")

    other = await write.send("POST", "/claims", claim("request-2"))
    await write("POST", f"{trial}/release", TrialView, {}, trial=other["trial"], **named)
    await write("POST", "/workers/{name}/readmit", WorkerView, name="w")
    number = 3
    while (again := await write.send("POST", "/claims", claim(f"request-{number}")))["kind"] == "grant":
        ended = {"nonce": again["nonce"], "outcome": {"result": "succeeded", "metrics": {"loss": 0.5 + number}}}
        await write.send("POST", f"/trials/{again['trial']}/attempts/{again['attempt']}/finish", ended)
        number += 1
    await write("POST", f"{study}/stages/{{number}}", StudyView, {}, number=1, **named)
    await write("POST", f"{study}/extend", StudyView, {"trials": 6}, **named)
    view = await write.send("GET", "/studies/digits")
    edited = {"spec": spec | {"budget": {"trials": 7}}, "version": view["spec_version"]}
    await write("PUT", f"{study}/spec", StudyView, edited, **named)
    await write("POST", f"{study}/stop", StudyView, **named)
    await write("DELETE", study, DeleteReply, **named)

    writes = {
        (method.upper(), path.removeprefix("/api/v1"))
        for path, methods in app.openapi()["paths"].items()
        for method in methods
        if method not in {"get", "head"}
    }
    assert {each for each in writes if each[1] not in WITHOUT_ANSWER} == write.sent
