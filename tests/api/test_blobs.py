"""Blobs over HTTP: stored under the hash of their content, and refused if content and hash differ."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from service.storage.blobs import BlobStore
from service.storage.database import Database
from tests.api.conftest import application

pytestmark = pytest.mark.anyio

CONTENT = os.urandom(3_000_000)
ADDRESS = f"/blobs/{hashlib.sha256(CONTENT).hexdigest()}"


@pytest.fixture
def app(database: Database, tmp_path: Path) -> FastAPI:
    return application(database, BlobStore(tmp_path))


def files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


async def test_a_blob_is_put_asked_for_and_read(http: httpx.AsyncClient) -> None:
    assert (await http.head(ADDRESS)).status_code == 404
    for is_new in (True, False):
        answer = await http.put(ADDRESS, content=CONTENT)
        assert (answer.status_code, answer.json()["is_new"], answer.json()["size"]) == (200, is_new, len(CONTENT))
    head = await http.head(ADDRESS)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(CONTENT)))
    got = await http.get(ADDRESS)
    assert (got.content, got.headers["content-type"]) == (CONTENT, "application/octet-stream")


async def test_content_of_another_hash_is_refused_and_not_kept(http: httpx.AsyncClient, tmp_path: Path) -> None:
    answer = await http.put(ADDRESS, content=CONTENT + b"!")
    assert (answer.status_code, answer.json()["code"]) == (422, "blob_mismatch")
    assert files(tmp_path) == []


async def test_a_blob_that_is_not_there_is_unknown(http: httpx.AsyncClient) -> None:
    assert (await http.get(ADDRESS)).json()["code"] == "unknown_blob"
    assert (await http.get("/blobs/..%2Fstore-id")).status_code == 404
    assert (await http.get("/blobs/ABC")).json()["code"] == "invalid_request"


async def test_a_damaged_blob_is_gone_when_it_is_asked_for_again(http: httpx.AsyncClient, tmp_path: Path) -> None:
    await http.put(ADDRESS, content=CONTENT)
    (path,) = files(tmp_path)
    path.write_bytes(bytes([CONTENT[0] ^ 1]) + CONTENT[1:])
    assert (await http.get(ADDRESS)).content != CONTENT
    assert (await http.get(ADDRESS)).status_code == 404


async def test_a_full_disk_is_reported(
    http: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    answer = await http.put(ADDRESS, content=CONTENT)
    assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
    assert files(tmp_path) == []
