"""A hundred script payloads, wherever the API takes text, stay text on every page in a real browser."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Dialog, Page, expect

from service.client import Client
from service.contract.attempt import FailureClass, FinishRequest, Outcome
from service.contract.base import TaskKind
from service.contract.capabilities import Capabilities
from service.contract.claim import ClaimRequest, Grant
from service.contract.log import LogRequest, Stream
from service.contract.predictions import Confusion
from service.contract.provenance import ProvenanceRequest, WarningRequest
from service.contract.report import Point, ReportRequest
from tests.dashboard.conftest import OpenPage
from tests.dashboard.payloads import PAYLOADS
from tests.support.service import Service

pytestmark = pytest.mark.browser

METRIC = "<img src=x onerror=alert('metric')>"
NAMES = PAYLOADS[16:24]
"""Parameters are named so."""
SPEC: dict[str, Any] = {
    "name": "payloads",
    "description": " ".join(PAYLOADS),
    "objective": {"metric": METRIC, "direction": "maximize"},
    "space": {name: {"type": "categorical", "choices": PAYLOADS} for name in NAMES}
    | {"rate": {"type": "float", "low": 0, "high": 1}},
    "sampler": {"name": "random", "seed": 1},
    "budget": {"trials": len(PAYLOADS) + 5},
}

WATCH = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective));
"""
INJECTED = (
    "script:not([src]), script[src*=evil], iframe, object, embed, base, marquee, math, form[action], image, picture, "
    "body style, video, audio, dialog[onclose], [srcdoc], [onerror], [onload], [onfocus], [onmouseover], [ontoggle], "
    "[onbegin], [href^=javascript i], [href^=data i], [src^=data i], [src=x], meta[http-equiv], link[href*=evil]"
)


def test_there_are_a_hundred_different_ones() -> None:
    assert len(set(PAYLOADS)) == len(PAYLOADS) >= 100


@pytest.fixture(scope="module")
def filled(built_dashboard: None, shared_service: Service) -> Iterator[Client]:
    """A client of a service whose studies hold payloads wherever a text can stand."""
    with Client(shared_service.url) as client:
        fill(client)
        yield client


def fill(client: Client) -> None:
    created = httpx.post(f"{client.server}/api/v1/studies", json=SPEC, trust_env=False)
    assert created.status_code == 201, created.text
    for number, payload in enumerate(PAYLOADS):
        offered = Capabilities(tasks=[TaskKind.EXTERNAL], labels={payload: payload})
        request = ClaimRequest(
            request_id=uuid.uuid4().hex, worker="w", host=payload, studies=["payloads"], capabilities=offered
        )
        grant = client.claim(request)
        assert isinstance(grant, Grant)
        nonce, key = grant.nonce, (grant.trial, grant.attempt)
        client.provenance(*key, ProvenanceRequest(nonce=nonce, code=(payload + "12345678")[:64], data="0" * 8))
        points = [Point(step=1, metrics={METRIC: number / 100, payload: 1.0})]
        client.report(*key, ReportRequest(nonce=nonce, sequence=1, points=points))
        client.warn(*key, WarningRequest(nonce=nonce, message=f"warning {number} {payload}"))
        for stream in Stream:
            client.append_log(*key, stream, LogRequest.of(nonce, 0, payload.encode()))
        if number % 2:
            failed = Outcome(
                result="failed", failure=FailureClass.INFEASIBLE, message=f"{number} {payload}", traceback=payload
            )
            client.finish(*key, FinishRequest(nonce=nonce, outcome=failed))
        else:
            confusion = Confusion(classes=[payload, "other"], splits={payload: [[1, 2], [3, 4]]})
            done = Outcome(result="succeeded", message=payload, metrics={payload: 1.0}, confusion=confusion)
            client.finish(*key, FinishRequest(nonce=nonce, outcome=done))
    client.pause("payloads", " ".join(PAYLOADS))


@contextmanager
def harmless(open_page: OpenPage, address: str, *, expected: tuple[str, ...] = ()) -> Iterator[Page]:
    """A page on which nothing of a payload may come to life while the block looks at it."""
    origin = re.match(r"https?://[^/]+", address)[0]  # type: ignore[index]
    with open_page("about:blank", expected=expected) as page:
        dialogs: list[str] = []

        def dismiss(dialog: Dialog) -> None:
            dialogs.append(dialog.message)
            dialog.dismiss()

        page.on("dialog", dismiss)
        foreign: list[str] = []
        page.on("request", lambda sent: foreign.append(sent.url) if not sent.url.startswith(origin) else None)
        page.context.on("page", lambda opened: foreign.append(opened.url))
        page.add_init_script(WATCH)
        page.set_default_timeout(60_000)  # of large pages on a busy machine
        page.goto(address)
        arrived = page.url
        yield page
        page.wait_for_timeout(300)  # handlers of images that failed run late
        assert page.url == arrived
        assert dialogs == []
        assert foreign == []
        assert page.evaluate("window.violations") == []
        found = page.locator(INJECTED)
        assert [found.nth(n).evaluate("e => e.outerHTML.slice(0, 200)") for n in range(found.count())] == []


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


@pytest.mark.prove
def test_a_study_full_of_payloads_shows_them_as_text(open_page: OpenPage, filled: Client) -> None:
    with harmless(open_page, f"{filled.server}/studies/payloads") as page:
        expect(page.get_by_role("heading", name="payloads", exact=True)).to_be_visible()
        if (more := page.get_by_role("button", name=re.compile("^Show .* more"))).count():
            more.click()
        expect(page.locator("tbody tr")).to_have_count(len(PAYLOADS))
        rows = page.get_by_role("button", name=re.compile("^Trial .*: details"))
        shown = page.locator("body").text_content() or ""
        for number in range(len(PAYLOADS)):
            rows.nth(number).click()  # which closes the one before
            shown += page.locator("tr.detail").text_content() or ""
        shown = squeezed(shown)
        for number, payload in enumerate(PAYLOADS):
            if number % 2:
                assert squeezed(f"{number} {payload}") in shown, payload
            assert squeezed(payload) in shown, payload
        for name in NAMES:
            assert squeezed(name) in shown
        page.locator(".chart").first.hover()


@pytest.mark.prove
def test_the_list_of_studies_is_harmless(open_page: OpenPage, filled: Client) -> None:
    with harmless(open_page, filled.server) as page:
        expect(page.get_by_role("row", name="payloads")).to_contain_text(METRIC)


@pytest.mark.prove
def test_an_address_full_of_payloads_is_harmless(open_page: OpenPage, filled: Client) -> None:
    for number, payload in enumerate(PAYLOADS[::10]):
        path = f"/studies/{quote(payload, safe='')}"
        if number % 2:
            path = f"/?study={quote(payload)}#{quote(payload)}"
        with harmless(open_page, filled.server + path, expected=("404", "400")) as page:
            expect(page.locator("main, #app, body").first).to_be_visible()


@pytest.mark.prove
def test_the_pages_of_the_api_are_harmless(open_page: OpenPage, filled: Client) -> None:
    with harmless(open_page, f"{filled.server}/docs") as page:
        expect(page.get_by_text("A hyperparameter search service")).to_be_visible(timeout=60_000)


@pytest.mark.prove
def test_api_answers_are_not_pages(open_page: OpenPage, filled: Client) -> None:
    """An answer that is opened in a tab is shown as text, whatever it holds."""
    paths = ["/studies", "/studies/payloads", "/studies/payloads/trials?limit=5", "/studies/payloads/trials/0",
             "/studies/payloads/trials/1/logs", "/studies/payloads/events?limit=50", "/studies/payloads/importance",
             "/workers", f"/studies/{quote(PAYLOADS[0], safe='')}"]  # fmt: skip
    for path in paths:
        answer = httpx.get(f"{filled.server}/api/v1{path}", trust_env=False)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "json" in answer.headers["Content-Type"]
        with harmless(open_page, f"{filled.server}/api/v1{path}", expected=("404", "ERR_ABORTED")) as page:
            assert page.locator("pre").count() == 1
