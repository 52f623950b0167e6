"""Runs the real application on SQLite and Postgres, in process, without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from functools import cache

import httpx
import pytest
from fastapi import FastAPI

from service.api.app import attach
from service.main import build_app, build_context
from service.settings import Settings
from service.storage.blobs import BlobStore
from service.storage.database import Database

BASE = "http://127.0.0.1:8420/api/v1"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


_routes = cache(lambda token: build_app(None, token))


def application(database: Database, blobs: BlobStore | None = None, token: str | None = None) -> FastAPI:
    """The application on a database; its routes are shared, as building them takes longer than a request.

    Tests that add routes, or need two applications at once, call `build_app`.
    """
    app: FastAPI = _routes(token)
    attach(app, build_context(Settings(), database, blobs))
    app.middleware_stack = None  # which remembers wrong tokens
    return app


@pytest.fixture
def app(database: Database) -> FastAPI:
    return application(database)


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with connected(app) as client:
        yield client


@pytest.fixture
def guarded(database: Database) -> FastAPI:
    """The application with a token."""
    return application(database, token="secret")


def connected(
    app: FastAPI, headers: Mapping[str, str | bytes] | None = None, *, typed: bool = True
) -> httpx.AsyncClient:
    """A client of the application; `typed` gives writes the Content-Type that our own clients send."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(
        transport=transport,
        base_url=BASE,
        headers=[(name, value) for name, value in (headers or {}).items()],
        event_hooks={"request": [_give_type]} if typed else {},
    )


async def _give_type(request: httpx.Request) -> None:
    if request.method not in {"GET", "HEAD"}:
        is_blob = "/blobs/" in request.url.path
        request.headers.setdefault("Content-Type", "application/octet-stream" if is_blob else "application/json")


@pytest.fixture
def connect() -> Callable[..., httpx.AsyncClient]:
    return connected
