"""Predictions over HTTP: a worker registers them, and any client downloads them as a file."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from service.contract.predictions import PredictionsList
from service.storage.blobs import BlobStore
from service.storage.database import Database
from tests.api.conftest import application
from tests.api.test_problems import problem
from tests.usecases.replica import Replica, sha256_of

pytestmark = pytest.mark.anyio

CONTENT = b"PAR1 and so on"
SHA256 = sha256_of(CONTENT)


@pytest.fixture
def app(database: Database, tmp_path: Path) -> FastAPI:
    return application(database, BlobStore(tmp_path))


async def test_a_file_is_registered_and_read(http: httpx.AsyncClient, database: Database) -> None:
    replica = Replica(database)
    name = await replica.create()
    grant = await replica.train(name, 0.5)
    assert (await http.put(f"/blobs/{SHA256}", content=CONTENT)).is_success
    body = {"nonce": grant.nonce, "sha256": SHA256, "size": len(CONTENT)}
    registered = await http.post(f"/trials/{grant.trial}/attempts/1/predictions", json=body)
    assert registered.json() == {"kept": True, "reason": ""}

    address = f"/studies/{name}/trials/0/predictions"
    read = await http.get(address)
    assert (read.content, read.headers["content-type"]) == (CONTENT, "application/vnd.apache.parquet")
    assert (read.headers["etag"], read.headers["content-length"]) == (f'"{SHA256}"', str(len(CONTENT)))
    again = await http.get(address, headers={"If-None-Match": read.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert (await http.get(address, headers={"If-None-Match": '"another"'})).content == CONTENT

    (listed,) = PredictionsList.model_validate((await http.get(f"/studies/{name}/predictions")).json()).trials
    assert (listed.trial, listed.number, listed.values) == (grant.trial, 0, [0.5])
    assert (listed.sha256, listed.size) == (SHA256, len(CONTENT))


async def test_missing_predictions_name_trials_that_have_some(http: httpx.AsyncClient, database: Database) -> None:
    replica = Replica(database)
    name = await replica.create()
    await replica.claim(name)
    told = problem(await http.get(f"/studies/{name}/trials/0/predictions"))
    assert (told.status, told.code) == (404, "unknown_predictions")
    assert told.detail == (
        "there are no predictions of trial 0: it is running, and only completed trials have predictions; "
        f"`study predictions {name}` lists all"
    )
    assert problem(await http.get(f"/studies/{name}/trials/7/predictions")).code == "unknown_trial"
    assert problem(await http.get("/studies/nowhere/predictions")).code == "unknown_study"
