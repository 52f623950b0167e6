"""The event stream: sends every change of a revision since the reader's position, and ends with the study."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
import uuid
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from service.api import stream
from service.api.stream import RevisionPoller
from service.main import build_context
from service.settings import Settings
from service.storage.database import Database
from service.usecases.context import Context
from service.usecases.studies import creation, lifecycle
from tests.support.service import Service
from tests.usecases.replica import spec_of

WAIT_SECONDS = 10


class Events:
    """An open stream, read line by line."""

    def __init__(self, response: httpx.Response) -> None:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        self._lines = response.iter_lines()

    def next(self) -> tuple[str | None, dict[str, Any]] | None:
        """The next event's id and data; None: the stream has ended."""
        event_id = None
        for line in self._lines:
            match line.partition(": "):
                case "id", _, given:
                    event_id = given
                case "event", _, kind:
                    assert kind == "changed"
                case "data", _, data:
                    return event_id, json.loads(data)
        return None


@contextlib.contextmanager
def streaming(service: Service, path: str, **headers: str) -> Iterator[Events]:
    with (
        httpx.Client(base_url=f"{service.url}/api/v1", timeout=WAIT_SECONDS, trust_env=False) as http,
        http.stream("GET", path, headers=headers) as response,
    ):
        yield Events(response)


def post(service: Service, path: str, body: Any = None) -> Any:
    response = httpx.post(f"{service.url}/api/v1{path}", json=body or {}, timeout=WAIT_SECONDS, trust_env=False)
    assert response.is_success, response.text
    return response.json()


@pytest.fixture
def study(shared_service: Service) -> dict[str, Any]:
    made: dict[str, Any] = post(shared_service, "/studies", spec_of().model_dump(mode="json", exclude_none=True))
    return made


def claim(service: Service, study: dict[str, Any]) -> Any:
    tasks = {"tasks": ["external"]}
    body = {"request_id": uuid.uuid4().hex, "worker": "w", "capabilities": tasks, "studies": [study["id"]]}
    return post(service, "/claims", body)


def test_a_stream_tells_where_the_study_is_and_then_every_change(
    shared_service: Service, study: dict[str, Any]
) -> None:
    with streaming(shared_service, f"/studies/{study['name']}/stream") as events:
        assert events.next() == ("1", {"revision": 1, "state": "active"})
        claim(shared_service, study)
        assert events.next() == ("2", {"revision": 2, "state": "active"})


def test_a_returning_reader_gets_only_new_events(shared_service: Service, study: dict[str, Any]) -> None:
    claim(shared_service, study)
    path = f"/studies/{study['name']}/stream"
    with streaming(shared_service, path, **{"Last-Event-ID": "1"}) as events:
        assert events.next() == ("2", {"revision": 2, "state": "active"})
    with streaming(shared_service, f"{path}?after=2") as events:
        later = threading.Timer(0.5, claim, (shared_service, study))
        later.start()
        assert events.next() == ("3", {"revision": 3, "state": "active"})
        later.join()


def test_a_stream_ends_with_its_study(shared_service: Service, study: dict[str, Any]) -> None:
    path = f"/studies/{study['name']}/stream"
    with streaming(shared_service, path) as events:
        assert events.next() == ("1", {"revision": 1, "state": "active"})
        post(shared_service, f"/studies/{study['name']}/stop")
        assert events.next() == ("2", {"revision": 2, "state": "stopped"})
        assert events.next() is None
    with streaming(shared_service, path, **{"Last-Event-ID": "2"}) as events:
        assert events.next() is None


def test_streams_say_that_a_study_was_deleted_and_its_own_ends(shared_service: Service, study: dict[str, Any]) -> None:
    path = f"/studies/{study['name']}"
    with streaming(shared_service, f"{path}/stream") as events, streaming(shared_service, "/stream") as of_all:
        assert events.next() == ("1", {"revision": 1, "state": "active"})
        told = of_all.next()
        while told is not None and told[1]["study"] != study["id"]:
            told = of_all.next()
        as_json = {"Content-Type": "application/json"}
        httpx.delete(f"{shared_service.url}/api/v1{path}", headers=as_json, trust_env=False).raise_for_status()
        assert events.next() == (None, {"revision": 1, "state": "deleted"})
        assert events.next() is None
        assert of_all.next() == (None, {"study": study["id"], "revision": 1, "state": "deleted"})
    gone = httpx.get(f"{shared_service.url}/api/v1{path}/stream", trust_env=False)
    assert (gone.status_code, gone.json()["code"]) == (404, "unknown_study")


def test_the_stream_of_all_names_the_study(shared_service: Service, study: dict[str, Any]) -> None:
    with streaming(shared_service, "/stream") as events:
        told = events.next()
        while told is not None and told[1]["study"] != study["id"]:
            told = events.next()
        assert told == (None, {"study": study["id"], "revision": 1, "state": "active"})
        claim(shared_service, study)
        assert events.next() == (None, {"study": study["id"], "revision": 2, "state": "active"})


def test_a_stream_of_nothing_is_a_problem(shared_service: Service) -> None:
    response = httpx.get(f"{shared_service.url}/api/v1/studies/nowhere/stream", trust_env=False)
    assert response.status_code == 404
    assert response.json()["code"] == "unknown_study"


@pytest.mark.anyio
async def test_many_readers_share_one_poll_that_ends_with_them(database: Database) -> None:
    context = build_context(Settings(), database)
    watch = RevisionPoller(context)
    name = (await creation.create_study(context, spec_of())).name
    readers = [watch.changes() for _ in range(20)]
    first = await asyncio.gather(*(anext(reader) for reader in readers))
    assert all(seen == first[0] for seen in first)
    assert polls() == 1
    waiting = [asyncio.ensure_future(anext(reader)) for reader in readers]
    await asyncio.sleep(0)
    changed = time.monotonic()
    await lifecycle.pause_study(context, name, "")
    moved = await asyncio.wait_for(asyncio.gather(*waiting), WAIT_SECONDS)
    assert time.monotonic() - changed < 5
    assert all(revision == (2, "paused") for seen in moved if seen for revision in seen.values())
    for reader in readers:
        await reader.aclose()
    await asyncio.sleep(0)
    assert polls() == 0


@pytest.mark.anyio
async def test_a_new_reader_hears_after_many_were_cancelled_while_studies_moved(database: Database) -> None:
    """Readers that are cancelled at the instant of a notification leave nothing behind that others wait for."""
    context = build_context(Settings(), database)
    watch = RevisionPoller(context)
    study = await creation.create_study(context, spec_of())
    staying = watch.changes()
    assert await anext(staying)
    for num_steps in range(6):
        leaving = [asyncio.ensure_future(_read(watch)) for _ in range(20)]
        moving = asyncio.ensure_future(_move(context, study.name, 3))
        await asyncio.sleep(2 * stream.POLL_SECONDS)
        # A server that closes a connection and a client that does cancel the same task, one after the other.
        for _ in range(4):
            for reader in leaving:
                reader.cancel()
            for _ in range(num_steps):
                await asyncio.sleep(0)
        await asyncio.wait(leaving, timeout=WAIT_SECONDS)
        await moving
    newcomer = watch.changes()
    try:
        assert await asyncio.wait_for(anext(newcomer), WAIT_SECONDS) is not None
        heard = asyncio.ensure_future(anext(newcomer))
        await asyncio.sleep(0.05)
        await lifecycle.pause_study(context, study.name, "")
        assert (await asyncio.wait_for(heard, WAIT_SECONDS) or {})[study.id][1] == "paused"
    finally:
        await asyncio.wait_for(staying.aclose(), WAIT_SECONDS)
        await asyncio.wait_for(newcomer.aclose(), WAIT_SECONDS)


async def _read(watch: RevisionPoller) -> None:
    async with contextlib.aclosing(watch.changes()) as changes:
        async for _ in changes:
            pass


async def _move(context: Context, name: str, num: int) -> None:
    for _ in range(num):
        await lifecycle.pause_study(context, name, "")
        await lifecycle.resume_study(context, name)


@pytest.mark.anyio
async def test_a_reader_of_one_study_hears_a_heartbeat_while_only_others_move(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.6)
    context = build_context(Settings(), database)
    watch = RevisionPoller(context)
    quiet, busy = [await creation.create_study(context, spec_of()) for _ in range(2)]
    async with contextlib.aclosing(watch.changes(quiet.id)) as changes:
        assert await anext(changes) == {quiet.id: (1, "active")}
        moving = asyncio.ensure_future(_move(context, busy.name, 10_000))
        assert await asyncio.wait_for(anext(changes), WAIT_SECONDS) is None
        assert await asyncio.wait_for(anext(changes), WAIT_SECONDS) is None
        assert not moving.done(), "the other study has to move for as long as this one is quiet"
        moving.cancel()
        await asyncio.gather(moving, return_exceptions=True)


@pytest.mark.anyio
async def test_no_heartbeat_is_sent_while_the_revisions_cannot_be_read(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.6)
    context = build_context(Settings(), database)
    study = await creation.create_study(context, spec_of())
    async with contextlib.aclosing(RevisionPoller(context).changes(study.id)) as changes:
        assert await anext(changes) == {study.id: (1, "active")}
        closed = ThreadPoolExecutor(1)
        closed.shutdown()
        monkeypatch.setattr(database, "viewing", closed)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(changes), 3.0)


@pytest.mark.anyio
async def test_a_slow_reader_finds_the_newest_revision_and_none_of_those_between(database: Database) -> None:
    context = build_context(Settings(), database)
    watch = RevisionPoller(context)
    study = await creation.create_study(context, spec_of())
    async with contextlib.aclosing(watch.changes(study.id)) as changes:
        assert await anext(changes) == {study.id: (1, "active")}
        await _move(context, study.name, 3)
        await asyncio.sleep(3 * stream.POLL_SECONDS)
        assert await anext(changes) == {study.id: (7, "active")}
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(changes), 3 * stream.POLL_SECONDS)


@pytest.mark.anyio
async def test_closing_ends_readers_and_refuses_new_ones(database: Database) -> None:
    context = build_context(Settings(), database)
    watch = RevisionPoller(context)
    reading = [asyncio.ensure_future(_read(watch)) for _ in range(20)]
    await asyncio.sleep(0.1)
    watch.close()
    await asyncio.wait_for(asyncio.gather(*reading), WAIT_SECONDS)
    await asyncio.wait_for(_read(watch), WAIT_SECONDS)
    await asyncio.sleep(0)
    assert polls() == 0


def polls() -> int:
    return sum("_polling" in repr(task) for task in asyncio.all_tasks())


@pytest.mark.anyio
async def test_many_readers_are_sent_to_read_in_turn_and_none_is_forgotten(database: Database) -> None:
    context = build_context(Settings(), database)
    watch = RevisionPoller(context)
    study = await creation.create_study(context, spec_of())
    readers = [watch.changes(study.id) for _ in range(12)]
    await asyncio.gather(*(anext(reader) for reader in readers))
    await lifecycle.pause_study(context, study.name, "")
    began = time.monotonic()
    heard: list[float] = []

    async def hear(reader: AsyncGenerator[stream.Revisions | None, None]) -> None:
        assert await anext(reader) == {study.id: (2, "paused")}
        heard.append(time.monotonic() - began)

    await asyncio.wait_for(asyncio.gather(*(hear(reader) for reader in readers)), WAIT_SECONDS)
    num_polls = len(readers) / stream.WOKEN_PER_POLL
    assert max(heard) - min(heard) >= (num_polls - 1) * stream.POLL_SECONDS * 0.9, "they came all at once"
    for reader in readers:
        await reader.aclose()
