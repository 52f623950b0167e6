"""Error messages that quote a name or value of the request shorten it, so the message stays one sentence."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.test_routes import SPEC

pytestmark = pytest.mark.anyio

LONG = "a" * 5_000
MOST_CHARACTERS = 700
DIGITS = "/studies/digits"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"/studies/{LONG}", None),
        ("GET", f"/studies/{LONG}/trials", None),
        ("DELETE", f"/studies/{LONG}", None),
        ("GET", f"{DIGITS}/trials/{LONG}", None),
        ("GET", f"{DIGITS}/trials/{'9' * 5_000}", None),
        ("GET", f"{DIGITS}/trials/{LONG}/logs", None),
        ("GET", f"{DIGITS}/trials/{LONG}/predictions", None),
        ("POST", f"/workers/{LONG}/readmit", None),
        ("POST", f"{DIGITS}/enqueue", {"parameters": {LONG: 1}}),
        ("POST", f"{DIGITS}/enqueue", {"parameters": {"lr": LONG}}),
        ("POST", f"{DIGITS}/enqueue", {"parameters": {"lr": [LONG] * 100}}),
        ("POST", f"{DIGITS}/actions", {"action": {"kind": LONG}, "version": 1, "rule": "r"}),
        ("POST", f"{DIGITS}/actions", {"action": {"kind": "edit", "changes": {LONG: 1}}, "version": 1, "rule": "r"}),
        ("POST", f"{DIGITS}/actions", {"action": {"kind": "enqueue", "parameters": {}}, "version": 1, "rule": LONG}),
        ("POST", "/studies/check", SPEC | {"task": {"train": {"model": {"name": LONG}}}}),
        ("POST", "/studies/check", SPEC | {"task": {"train": {"model": {"name": "mlp", LONG: 1}}}}),
        ("POST", "/studies/check", SPEC | {"task": {"train": {LONG: {}}}}),
        ("POST", "/studies/check", SPEC | {"task": {"train": {"epochs": LONG}}}),
        ("POST", "/studies/check", SPEC | {"task": {"function": LONG}}),
        ("POST", "/studies/check", SPEC | {"task": {"command": LONG}}),
        ("POST", "/studies/check", SPEC | {"objective": {"metric": LONG, "direction": LONG}}),
        ("POST", "/studies/check", SPEC | {"space": {"a": {"type": "categorical", "choices": [LONG, LONG]}}}),
        ("POST", "/studies/check", SPEC | {"space": {LONG: {"type": "float", "low": 1, "high": 0}}}),
        ("POST", "/studies/check", SPEC | {"warm_start": ["b" * 64]}),
    ],
)
async def test_a_long_name_is_cut(http: httpx.AsyncClient, method: str, path: str, body: Any) -> None:
    assert (await http.post("/studies", json=SPEC)).status_code == 201
    response = await http.request(method, path, json=body)
    assert 400 <= response.status_code < 500
    said = response.json()
    assert len(said["detail"]) <= MOST_CHARACTERS, said["detail"][:300]
    for each in said["errors"]:
        assert len(each["path"] + each["message"]) <= MOST_CHARACTERS, each["message"][:300]
