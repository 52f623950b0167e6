"""Malformed request bodies: each is refused with one sentence, and none blocks the event loop."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from service.api.body import LARGE_BYTES, JsonRoute
from service.contract.problem import ErrorCode
from service.contract.study import StudyView
from service.contract.validation_errors import MAX_MISTAKES
from tests.api.test_problems import problem
from tests.api.test_routes import SPEC

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json"}

NO_REQUESTS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "the body is missing; send one as JSON"),
    "blanks": (b"  \n", "the body is not JSON: Expecting value at line 2, column 1"),
    "null": (b"null", "must be a mapping of settings, got None"),
    "a list": (b"[]", "must be a mapping of settings, got []"),
    "a text": (b'"x"', "must be a mapping of settings, got 'x'"),
    "a number": (b"3", "must be a mapping of settings, got 3"),
    "half a mapping": (b'{"name": ', "the body is not JSON: Expecting value at line 1, column 10"),
    "two mappings": (b"{} {}", "the body is not JSON: Extra data at line 1, column 4"),
    "UTF-16": (json.dumps(SPEC).encode("utf-16"), "the body is not UTF-8: byte 0 cannot be read; encode it in UTF-8"),
    "bytes that are no text": (b'{"name": "\xff\xfe"}', "the body is not UTF-8: byte 10 cannot be read"),
    "a surrogate's bytes": (b'{"name": "\xed\xa0\x80"}', "the body is not UTF-8: byte 10 cannot be read"),
    "deep nesting": (b'{"task": ' + b"[" * 100_000, "the body is nested too deeply; flatten it"),
    "deep mappings": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "the body is nested too deeply; flatten it"),
    "a key twice": (
        b'{"name": "a", "name": "b"}',
        "the body has the key 'name' twice in one mapping; drop one of them",
    ),
    "NaN": (b'{"priority": NaN}', "the body holds NaN, which is not JSON"),
    "Infinity": (b'{"priority": -Infinity}', "the body holds -Infinity, which is not JSON"),
    "a number with thousands of digits": (
        b'{"priority": 1' + b"0" * 5_000 + b"}",
        "the body contains a number with thousands",
    ),
}


@pytest.mark.parametrize("name", NO_REQUESTS)
@pytest.mark.parametrize("path", ["/studies", "/claims", "/studies/digits/extend"])
async def test_a_body_that_is_no_request_is_refused_in_a_sentence(
    http: httpx.AsyncClient, name: str, path: str
) -> None:
    await http.post("/studies", json=SPEC)
    content, sentence = NO_REQUESTS[name]
    said = problem(await http.post(path, content=content, headers=JSON))
    assert said.code is ErrorCode.INVALID_REQUEST
    assert sentence in said.detail


async def test_a_body_that_may_be_left_out_is_checked_where_it_is_there(http: httpx.AsyncClient) -> None:
    await http.post("/studies", json=SPEC)
    assert "'reason'" in problem(await http.post("/studies/digits/pause", json={"raeson": "lunch"})).detail
    assert problem(await http.post("/studies/digits/pause", content=b"[", headers=JSON)).status == 422
    assert (await http.post("/studies/digits/pause", content=b"", headers=JSON)).status_code == 200
    assert (await http.post("/studies/digits/resume")).status_code == 200
    assert (await http.post("/studies/digits/pause", content=b"null", headers=JSON)).status_code == 200


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" + "0" * 400, str(2**53 + 1)])
async def test_a_number_that_no_double_holds_is_refused(http: httpx.AsyncClient, number: str) -> None:
    for changes in (
        '"space": {"lr": {"type": "constant", "value": NUMBER}}',
        '"space": {"lr": {"type": "int", "low": 0, "high": NUMBER}}',
        '"space": {"lr": {"type": "constant", "value": 1}}, "task": {"train": {"epochs": NUMBER}}',
    ):
        spec = '{"name": "a", "objective": {"metric": "loss", "direction": "minimize"}, ' + changes + "}"
        content = spec.replace("NUMBER", number)
        assert problem(await http.post("/studies", content=content, headers=JSON)).code is ErrorCode.INVALID_REQUEST
    assert (await http.get("/studies")).json()["studies"] == []


async def test_many_mistakes_are_described_as_twenty_and_a_count(http: httpx.AsyncClient) -> None:
    said = problem(await http.post("/studies", json=SPEC | {f"unknown{n}": n for n in range(6_000)}))
    assert len(said.errors) == MAX_MISTAKES + 1
    assert (said.errors[-1].path, said.errors[-1].message) == ("", f"and {6_000 - MAX_MISTAKES} more")
    said = problem(
        await http.post("/claims", json={"request_id": "0123456789", "worker": "w", "studies": [1] * 100_000})
    )
    assert said.errors[-1].message == f"and {100_000 - MAX_MISTAKES} more"


async def test_a_sentence_quotes_little_of_a_long_value(http: httpx.AsyncClient) -> None:
    for wrong in (
        {"name": "x" * 100_000},
        {"objective": ["x" * 100_000] * 3},
        {"x" * 100_000: 1},
        {"budget": "\ud800" * 9},
    ):
        response = await http.post("/studies", content=json.dumps(SPEC | wrong), headers=JSON)
        assert problem(response).code is ErrorCode.INVALID_REQUEST
        assert len(response.content) < 4_000, response.text[:5_000]


KEYS = 6_000
HOSTILE: dict[str, Any] = {
    "6,000 unknown keys": SPEC | {f"unknown_key_{n}": n for n in range(KEYS)},
    "a long unknown key": SPEC | {"u" * 500_000: 1},
    "6,000 parameters that are none": SPEC | {"space": {f"p{n}": {"type": "flaot"} for n in range(KEYS)}},
    "6,000 parameters that reach nothing": SPEC
    | {"space": {f"optimizer.lrr{n}": {"type": "constant", "value": 1} for n in range(KEYS)}, "task": {"train": {}}},
    "6,000 settings that are none": SPEC | {"task": {"train": {f"modl{n}": 1 for n in range(KEYS)}}},
    "6,000 conditions on what is no parameter": SPEC
    | {"space": {f"p{n}": {"type": "constant", "value": 1, "when": {f"q{n}": 1}} for n in range(KEYS)}},
    "20,000 choices": SPEC | {"space": {"lr": {"type": "categorical", "choices": list(range(20_000))}}},
    "100,000 numbers where texts belong": {"request_id": "0123456789", "worker": "w", "studies": [1] * 100_000},
    "20,000 arguments": SPEC | {"task": {"command": {"argv": ["{lr}", *(f"{{p{n}}}" for n in range(20_000))]}}},
    "20,000 warm starts": SPEC | {"warm_start": [f"study{n}" for n in range(20_000)]},
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_no_body_stops_the_event_loop(http: httpx.AsyncClient, name: str) -> None:
    """While a hostile body is answered, a clock on the same loop goes on ticking."""
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.001)
            longest = max(longest, time.thread_time() - before)

    content = json.dumps(HOSTILE[name]).encode()
    ticking = asyncio.create_task(tick())
    begun = time.process_time()
    response = await http.post(
        "/claims" if "request_id" in HOSTILE[name] else "/studies/check", content=content, headers=JSON
    )
    took = time.process_time() - begun
    ticking.cancel()
    assert response.status_code in {200, 404, 422}, response.text
    assert took < 5.0
    assert longest < 0.5


async def test_a_large_body_is_read_like_a_small_one(http: httpx.AsyncClient) -> None:
    spec = SPEC | {"description": "x" * (LARGE_BYTES + 1)}
    made = StudyView.model_validate((await http.post("/studies", json=spec)).raise_for_status().json())
    assert made.spec.description == spec["description"]
    said = problem(await http.post("/studies", json=spec | {"bugdet": {}}))
    assert "bugdet: no such setting; did you mean 'budget'?" in said.detail


async def test_every_route_with_a_body_reads_it_so(app: FastAPI) -> None:
    routes = [context.original_route for context in iter_route_contexts(app.routes)]
    with_body = [route for route in routes if isinstance(route, APIRoute) and route.body_field is not None]
    assert len(with_body) >= 15
    assert [route.path for route in with_body if not isinstance(route, JsonRoute)] == []
