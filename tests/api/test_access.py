"""Access control: foreign web pages, rebound host names and callers without the token are refused."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from service.api.access import AccessRules
from service.contract.problem import ErrorCode
from service.main import build_app, build_context
from service.settings import Settings
from service.storage.database import Database
from tests.api.test_problems import problem
from tests.api.test_routes import SPEC, claim

pytestmark = pytest.mark.anyio

Connect = Callable[..., httpx.AsyncClient]

PAGES = ("/", "/studies", "/studies/digits", "/docs", "/openapi.json", "/api/v1/health", "/api/v1/studies")
JSON = {"Content-Type": "application/json"}


REBOUND = (
    "evil.example", "evil.example:8420", "127.0.0.1.evil.example", "localhost.evil.example:8420", "10.0.0.7:8420",
    "2130706433", "0x7f.0.0.1", "[::2]:8420", "[::ffff:10.0.0.7]", "me@127.0.0.1", "127.0.0.1:80:80", "127.0.0.1:x",
    "[::1", "", "127.0.0.1, evil.example",
)  # fmt: skip


@pytest.mark.parametrize("path", [*PAGES, "/api/v1/stream", "/assets/nothing.js", "/nowhere"])
async def test_a_name_that_was_rebound_to_loopback_is_refused_on_every_path(http: httpx.AsyncClient, path: str) -> None:
    for host in REBOUND:
        answer = await http.get(f"http://127.0.0.1{path}", headers={"Host": host})
        assert (answer.status_code, problem(answer).code) == (421, ErrorCode.HOST_REFUSED), host
        assert "ASSAYER_ALLOWED_HOSTS" in problem(answer).detail


async def test_loopback_is_let_in_by_all_its_names(http: httpx.AsyncClient) -> None:
    for host in ("127.0.0.1", "127.0.0.1:8420", "127.9.8.7:1", "localhost:8420", "LOCALHOST", "[::1]:8"):
        assert (await http.get("/studies", headers={"Host": host})).status_code == 200, host


async def test_a_name_that_the_operator_allows_is_let_in(database: Database, connect: Connect) -> None:
    rules = AccessRules(allowed_hosts=frozenset({"assayer.example", "fd00::7"}))
    async with connect(build_app(build_context(Settings(), database), None, rules)) as http:
        for host in ("assayer.example", "Assayer.Example:443", "[fd00::7]:80", "localhost"):
            assert (await http.get("/studies", headers={"Host": host})).status_code == 200
        for host in ("other.example", "assayer.example.evil.example"):
            assert (await http.get("/studies", headers={"Host": host})).status_code == 421


async def test_with_a_token_any_name_leads_to_the_service_unless_the_operator_names_some(
    database: Database, connect: Connect
) -> None:
    context, token = build_context(Settings(), database), {"Authorization": "Bearer secret"}
    async with connect(build_app(context, "secret"), token) as http:
        assert (await http.get("/studies", headers={"Host": "service:8420"})).status_code == 200
    named = AccessRules(allowed_hosts=frozenset({"assayer.example"}))
    async with connect(build_app(context, "secret", named), token) as http:
        assert (await http.get("/studies", headers={"Host": "service:8420"})).status_code == 421


FOREIGN: list[dict[str, str]] = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:3000"},
    {"Origin": "http://127.0.0.1:9999"},
    {"Origin": "http://127.0.0.1:8420.evil.example"},
    {"Origin": "https://127.0.0.1:8420"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
    {"Origin": "http://127.0.0.1:8420", "Sec-Fetch-Site": "cross-site"},
]
BODYLESS = ("stop", "pause", "resume")


async def test_a_foreign_page_can_change_nothing(http: httpx.AsyncClient) -> None:
    await http.post("/studies", json=SPEC)
    await http.post("/claims", json=claim("request-0"))
    for headers in FOREIGN:
        for word in BODYLESS:
            refused = await http.post(f"/studies/digits/{word}", headers={**headers, **JSON})
            assert (refused.status_code, problem(refused).code) == (403, ErrorCode.ORIGIN_REFUSED), headers
        assert (await http.post("/workers/w/readmit", headers={**headers, **JSON})).status_code == 403
        assert (await http.post("/studies", json=SPEC | {"name": "theirs"}, headers=headers)).status_code == 403
        assert (await http.delete("/studies/digits", headers={**headers, **JSON})).status_code == 403
    studies = (await http.get("/studies")).json()["studies"]
    assert [(study["name"], study["state"]) for study in studies] == [("digits", "active")]


async def test_a_foreign_page_can_read_nothing(http: httpx.AsyncClient) -> None:
    for headers in FOREIGN:
        for path in ("/studies", "/stream"):
            assert (await http.get(path, headers=headers)).status_code == 403, headers


async def test_with_a_token_a_foreign_page_can_change_nothing_either(guarded: FastAPI, connect: Connect) -> None:
    async with connect(guarded, {"Authorization": "Bearer secret"}) as http:
        await http.post("/studies", json=SPEC)
        for headers in FOREIGN:
            assert (await http.post("/studies/digits/stop", headers={**headers, **JSON})).status_code == 403


async def test_a_link_from_elsewhere_opens_the_dashboard(http: httpx.AsyncClient) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert (await http.get("http://127.0.0.1:8420/studies/digits", headers=link)).status_code != 403
    assert (await http.post("/studies/digits/stop", headers=link | JSON)).status_code == 403


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8420", "http://127.0.0.1:8420"),
        ("localhost:8420", "http://localhost:8420"),
        ("[::1]:8420", "http://[::1]:8420"),
        ("assayer.example", "https://assayer.example"),  # a proxy that ends TLS
        ("assayer.example:81", "http://assayer.example:81"),
    ],
)
async def test_the_services_own_pages_can_change_studies(
    database: Database, connect: Connect, host: str, origin: str
) -> None:
    rules = AccessRules(allowed_hosts=frozenset({"assayer.example"}))
    headers = {"Host": host, "Origin": origin, "Sec-Fetch-Site": "same-origin"}
    async with connect(build_app(build_context(Settings(), database), None, rules), headers) as http:
        assert (await http.post("/studies", json=SPEC)).status_code == 201
        assert (await http.post("/studies/digits/pause", headers=JSON)).json()["state"] == "paused"


@pytest.mark.parametrize(
    "given",
    [None, "text/plain", "text/plain; application/json", "application/x-www-form-urlencoded", "multipart/form-data", "",
     "application/jsonp", "application/octet-stream"],
)  # fmt: skip
async def test_a_write_of_a_type_that_forms_can_send_is_refused_bodyless_ones_too(
    app: FastAPI, connect: Connect, given: str | None
) -> None:
    headers = {} if given is None else {"Content-Type": given}
    async with connect(app) as http:
        await http.post("/studies", json=SPEC)
    async with connect(app, typed=False) as http:
        for word in BODYLESS:
            refused = await http.post(f"/studies/digits/{word}", headers=headers)
            assert (refused.status_code, problem(refused).code) == (415, ErrorCode.MEDIA_TYPE)
            assert "application/json" in problem(refused).detail
        assert (await http.post("/workers/w/readmit", headers=headers)).status_code == 415
        assert (await http.post("/studies", content=b"{}", headers=headers)).status_code == 415
        assert (await http.get("/studies/digits")).json()["state"] == "active"


@pytest.mark.parametrize("given", ["application/json", "Application/JSON; charset=utf-8"])
async def test_json_is_welcome_by_any_spelling(http: httpx.AsyncClient, given: str) -> None:
    await http.post("/studies", json=SPEC)
    assert (await http.post("/studies/digits/pause", headers={"Content-Type": given})).status_code == 200


async def test_a_blob_comes_as_bytes(app: FastAPI, connect: Connect) -> None:
    async with connect(app, typed=False) as http:
        for given in ("text/plain", "application/json"):
            refused = await http.put(f"/blobs/{'0' * 64}", content=b"x", headers={"Content-Type": given})
            assert (refused.status_code, problem(refused).code) == (415, ErrorCode.MEDIA_TYPE)
            assert "application/octet-stream" in problem(refused).detail


HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


async def test_every_answer_tells_the_browser_to_take_it_for_what_it_is(database: Database, connect: Connect) -> None:
    app = build_app(build_context(Settings(), database), None)

    @app.get("/fail")
    async def fail() -> None:
        raise RuntimeError

    async with connect(app) as http:
        created = await http.post("/studies", json=SPEC)
        answers = [
            created,
            *[
                await http.get(f"http://127.0.0.1:8420{path}")
                for path in (*PAGES, "/assets/nothing.js", "/nowhere", "/fail")
            ],
            await http.get("/studies", headers={"Host": "evil.example"}),
            await http.post("/studies/digits/stop", headers={"Origin": "null"}),
            await http.post("/studies", json={}),
            await http.post("/studies", content=b"x" * 2_000_000),
            await http.request("TRACE", "/studies"),
        ]
    assert {answer.status_code for answer in answers} >= {200, 201, 404, 500, 421, 403, 422, 413}
    for answer in answers:
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS, answer.url
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


async def test_reading_changes_nothing(
    app: FastAPI, database: Database, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every GET of the API, on a study with a trial: the database stays as it was to the last row."""
    async with connect(app) as http:
        await http.post("/studies", json=SPEC)
        grant = (await http.post("/claims", json=claim("request-0"))).json()
        before = rows(database)
        assert before
        names = {"study": "digits", "trial": "0", "name": "w", "sha256": "0" * 64}
        paths = [path for path, methods in app.openapi()["paths"].items() if "get" in methods]
        assert len(paths) > 15
        for path in paths:
            if not path.endswith("/stream"):
                answer = await http.get("http://127.0.0.1:8420" + path.format(**names))
                assert answer.status_code in {200, 404}, (path, answer.text)
        assert rows(database) == before
        assert grant["kind"] == "grant"


def rows(database: Database) -> dict[str, list[Any]]:
    with database.writer.connect() as connection:
        tables = sa.inspect(connection).get_table_names()
        return {name: sorted(map(repr, connection.exec_driver_sql(f'SELECT * FROM "{name}"'))) for name in tables}


@pytest.mark.parametrize("token", [{}, {"Authorization": "Bearer guess"}])
async def test_every_route_but_the_health_check_requires_the_token(
    guarded: FastAPI, connect: Connect, monkeypatch: pytest.MonkeyPatch, token: dict[str, str]
) -> None:
    monkeypatch.setattr("service.api.auth.FREE_FAILURES", 1000)  # so that wrong tokens are refused at once
    async with connect(guarded) as http:
        for path, methods in guarded.openapi()["paths"].items():
            for method in methods:
                answer = await http.request(
                    method, "http://127.0.0.1:8420" + re.sub(r"\{.*?\}", "1", path), headers=JSON | token
                )
                assert (answer.status_code == 401) == (path != "/api/v1/health"), (method, path)
        for path in ("/api/v1/nowhere", "/api/v1/health/", "/api/v1/", "/api/v1"):
            assert (await http.get(f"http://127.0.0.1:8420{path}", headers=token)).status_code == 401


class Untouched(httpx.AsyncByteStream):
    """A body that fails the test when somebody reads it."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pytest.fail("the body was read")
        yield b""


@pytest.mark.parametrize("token", [{}, {"Authorization": "Bearer guess"}])
async def test_no_body_is_read_before_the_token_is_right(
    guarded: FastAPI, connect: Connect, token: dict[str, str]
) -> None:
    async with connect(guarded) as http:
        for path, kind in (("/studies", "application/json"), (f"/blobs/{'0' * 64}", "application/octet-stream")):
            request = http.build_request(
                "PUT" if "blobs" in path else "POST", path, headers={**token, "Content-Type": kind}
            )
            request.stream = Untouched()
            assert (await http.send(request)).status_code == 401
