"""A browser in which a console error, an uncaught exception or a failed request fails the test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from service.client import Client
from service.dashboard.build import build
from tests.support.service import Service

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


class OpenPage(Protocol):
    def __call__(
        self, address: str, *, expected: tuple[str, ...] = (), **context: Any
    ) -> AbstractContextManager[Page]: ...


@pytest.fixture(scope="session")
def built_dashboard() -> None:
    """Pages as the sources are now."""
    build()


@pytest.fixture(scope="module")
def browser(built_dashboard: None) -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def client(built_dashboard: None, shared_service: Service) -> Iterator[Client]:
    """A client of the service that most tests share; each has its own studies."""
    with Client(shared_service.url) as client:
        yield client


@pytest.fixture
def fresh(built_dashboard: None, service: Service) -> Iterator[Client]:
    """A client of a service of this test's own."""
    with Client(service.url) as client:
        yield client


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> OpenPage:
    """Open a page that must stay clean. Where the test fails, a picture of the page is in tmp_path."""

    @contextmanager
    def opened(address: str, *, expected: tuple[str, ...] = (), **settings: Any) -> Iterator[Page]:
        with browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | settings)) as context:
            page = context.new_page()
            page.set_default_timeout(8000)
            wrong: list[str] = []
            page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("requestfailed", lambda request: wrong.append(f"{request.url} {request.failure}"))
            page.goto(address)
            try:
                yield page
                # A page that is left ends what it was reading.
                expected = (*expected, "net::ERR_ABORTED")
                assert [text for text in wrong if not any(part in text for part in expected)] == []
            except BaseException:
                page.screenshot(path=tmp_path / f"{len(list(tmp_path.glob('*.png')))}.png", full_page=True)
                raise

    return opened
