"""Errors: each is an RFC 9457 problem with a stable code, a status from one table, and a remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.api.problems import STATUS
from service.contract.problem import ErrorCode, Problem
from service.domain.errors import DomainError
from service.main import build_app
from tests.api.test_routes import SPEC, claim

EDIT = {"spec": SPEC | {"space": {"a": {}}}, "version": 1}
REPORT = {"nonce": "n", "sequence": 1, "points": [{"step": 1, "metrics": {"loss": 1}}]}

pytestmark = pytest.mark.anyio


def problem(response: httpx.Response) -> Problem:
    assert response.headers["content-type"] == "application/problem+json"
    said = Problem.model_validate_json(response.text)
    assert said.status == response.status_code == STATUS[said.code]
    assert said.type == f"urn:assayer:problem:{said.code}"
    assert said.title
    assert "\n" not in said.detail
    return said


def test_every_code_has_a_status() -> None:
    assert set(STATUS) == set(ErrorCode)
    assert all(400 <= status < 600 for status in STATUS.values())


async def test_every_code_is_answered_by_its_status(connect: Callable[..., httpx.AsyncClient]) -> None:
    app = build_app(None, None)

    @app.get("/raise/{code}")
    async def refuse(code: ErrorCode) -> None:
        raise DomainError(code, "it cannot be done")

    async with connect(app) as http:
        for code in ErrorCode:
            said = problem(await http.get(f"http://127.0.0.1:8420/raise/{code}"))
            assert (said.code, said.detail) == (code, "it cannot be done")


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "detail"),
    [
        ("POST", "/studies", SPEC | {"bugdet": {"trials": 3}}, "invalid_request", "bugdet: "),
        ("POST", "/studies", SPEC | {"format": 2}, "invalid_request", "format: "),
        ("POST", "/studies", {}, "invalid_request", "name: "),
        ("POST", "/studies/check", SPEC | {"space": {}}, "invalid_request", "space: "),
        (
            "PUT",
            "/studies/digits/spec",
            EDIT,
            "invalid_request",
            "needs 'type'",
        ),
        ("POST", "/studies", SPEC | {"sampler": "gird"}, "invalid_request", "sampler: "),
        ("POST", "/studies/nowhere/pause", None, "unknown_study", "there is no study 'nowhere'"),
        ("POST", "/studies/digits/resume", None, "study_state", "only one that is paused can be resumed"),
        ("POST", "/studies/digits/extend", {"trials": 1}, "study_state", "the budget is 2 trials"),
        ("POST", "/studies/digits/enqueue", {"parameters": {"lr": 9}}, "invalid_parameters", "lr: "),
        (
            "POST",
            "/studies/digits/actions",
            {"action": {"kind": "edit", "changes": {"space.lr.low": 9}}, "version": 1, "rule": "r"},
            "invalid_spec",
            "low must be below high",
        ),
        (
            "POST",
            "/studies/digits/actions",
            {"action": {"kind": "extend", "trials": 9}, "version": 7, "rule": "r"},
            "study_changed",
            "made for version 7",
        ),
        ("POST", "/studies", SPEC, "study_exists", "there is already a study 'digits'"),
        ("GET", "/studies/digits/trials/9", None, "unknown_trial", "has no trial 9"),
        ("GET", "/studies/digits/trials/99999999999999999999", None, "unknown_trial", "has no trial 999999999"),
        (
            "GET",
            "/studies/digits/trials?since=9007199254740993",
            None,
            "invalid_request",
            "since: Input should be less",
        ),
        ("GET", "/studies/digits/trials?since=99999999999999999999", None, "invalid_request", "since: "),
        ("GET", "/studies/digits/events?after=9223372036854775807", None, "invalid_request", "after: "),
        ("GET", "/studies/digits/trials/0/logs?after=9223372036854775807", None, "invalid_request", "after: "),
        ("GET", "/studies/digits/trials/0/logs?attempt=2147483648", None, "invalid_request", "attempt: "),
        ("GET", "/studies/digits/stream?after=9223372036854775807", None, "invalid_request", "after: "),
        ("POST", "/studies/digits/stages/2147483648", None, "invalid_request", "number: "),
        ("POST", "/trials/t/attempts/2147483648/reports", REPORT, "invalid_request", "attempt: "),
        (
            "POST",
            "/trials/t/attempts/1/logs/stdout",
            {"nonce": "n", "offset": 2**63 - 1, "content": "b25lCg=="},
            "invalid_request",
            "offset: is beyond",
        ),
        ("GET", "/studies/%00", None, "invalid_request", "study: holds a NUL character (U+0000)"),
        ("GET", "/studies/digits/trials/a%00b", None, "invalid_request", "trial: holds a NUL"),
        ("GET", "/studies/digits/events?kind=%00", None, "invalid_request", "kind: holds a NUL"),
        ("GET", "/studies/digits/events?%00=1", None, "invalid_request", "holds a NUL"),
        ("POST", "/workers/%00/readmit", None, "invalid_request", "name: holds a NUL"),
        ("GET", "/studies/%ED%A0%80", None, "unknown_study", "there is no study"),
        ("GET", "/studies/digits/trials/one", None, "unknown_trial", "has no trial one; it has 0, numbered from 0"),
        ("GET", "/studies/digits/trials?limit=0", None, "invalid_request", "limit: Input should be greater than"),
        ("GET", "/studies/digits/best", None, "unknown_trial", "has no completed trial yet"),
        ("POST", "/claims", claim("request-0") | {"protocol": 2}, "protocol_version", "install the same version"),
        ("POST", "/claims", claim("request-0") | {"colour": "red"}, "invalid_request", "colour: "),
        ("POST", "/claims", claim("short"), "invalid_request", "request_id: "),
        (
            "POST",
            "/trials/t/attempts/1/finish",
            {"nonce": "n", "outcome": {"result": "succeeded"}},
            "unknown_trial",
            "no trial",
        ),
        ("GET", "/nothing", None, "not_found", "there is no GET /api/v1/nothing; /docs lists what there is"),
        ("PUT", "/studies", None, "method_not_allowed", "there is no PUT /api/v1/studies; this path takes GET, POST,"),
    ],
)
async def test_the_mistake_is_named(
    http: httpx.AsyncClient, method: str, path: str, body: Any, code: str, detail: str
) -> None:
    await http.post("/studies", json=SPEC)
    said = problem(await http.request(method, path, json=body))
    assert said.code == code
    assert detail in said.detail


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/catalogue", "GET"),
        ("TRACE", "/studies/check", "POST"),
        ("PATCH", "/studies", "GET, POST"),
        ("POST", f"/blobs/{'0' * 64}", "GET, HEAD, PUT"),
        ("GET", "/claims", "POST"),
    ],
)
async def test_a_method_that_a_path_does_not_take_is_answered_by_those_it_does(
    http: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    response = await http.request(method, path)
    assert problem(response).code is ErrorCode.METHOD_NOT_ALLOWED
    assert response.headers["Allow"] == allowed


async def test_a_last_event_that_no_study_has_is_refused(http: httpx.AsyncClient) -> None:
    await http.post("/studies", json=SPEC)
    for given in ("9223372036854775807", "-1", "one"):
        said = problem(await http.get("/studies/digits/stream", headers={"Last-Event-ID": given}))
        assert said.code is ErrorCode.INVALID_REQUEST


async def test_every_wrong_field_is_listed(http: httpx.AsyncClient) -> None:
    wrong = SPEC | {"objective": {"metric": "", "direction": "up"}, "colour": "red"}
    said = problem(await http.post("/studies", json=wrong))
    assert [error.path for error in said.errors] == ["objective.metric", "objective.direction", "colour"]


async def test_a_body_that_is_no_json_is_refused(http: httpx.AsyncClient) -> None:
    said = problem(await http.post("/studies", content=b"{", headers={"content-type": "application/json"}))
    assert said.code is ErrorCode.INVALID_REQUEST
    assert "JSON" in said.detail


async def test_an_unexpected_error_is_reported_without_internals(
    connect: Callable[..., httpx.AsyncClient], caplog: pytest.LogCaptureFixture
) -> None:
    app = build_app(None, None)

    @app.get("/fail")
    async def fail() -> None:
        raise RuntimeError("secret insides")

    async with connect(app) as http:
        said = problem(await http.get("http://127.0.0.1:8420/fail"))
    assert (said.code, said.detail) == (ErrorCode.INTERNAL, "the service failed; its log says more")
    assert "secret insides" in caplog.text


async def test_a_token_is_required_where_one_is_set(
    guarded: FastAPI, connect: Callable[..., httpx.AsyncClient]
) -> None:
    async with connect(guarded) as http:
        response = await http.get("/studies")
        assert "set ASSAYER_TOKEN" in problem(response).detail
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert (await http.get("/health")).status_code == 200
        for path in ("/studies", "/workers", "/stream", "/studies/digits/stream"):
            assert problem(await http.get(path)).code is ErrorCode.UNAUTHORIZED
        assert problem(await http.post("/claims", json=claim("request-0"))).code is ErrorCode.UNAUTHORIZED
    for given in ("Bearer guess", "Basic secret", "Bearer s\u00e9cret".encode()):
        async with connect(guarded, {"Authorization": given}) as http:
            assert problem(await http.get("/studies")).code is ErrorCode.UNAUTHORIZED
    async with connect(guarded, {"Authorization": "Bearer secret"}) as http:
        assert (await http.get("/studies")).status_code == 200


async def test_without_a_token_nobody_needs_one(http: httpx.AsyncClient) -> None:
    assert (await http.get("/studies", headers={"Authorization": "Bearer whatever"})).status_code == 200
