"""What the service serves at the dashboard's addresses, with and without a build."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from service.dashboard.mount import mount


@pytest.fixture
def static(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<title>Assayer</title>")
    (tmp_path / "assets" / "index-abc123.js").write_text("export {};" * 200)
    return tmp_path


def get(static: Path, path: str) -> httpx.Response:
    app = FastAPI()
    mount(app, static)

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
            return await client.get(path)

    return asyncio.run(ask())


@pytest.mark.parametrize("path", ["/", "/studies", "/studies/digits-mlp", "/studies/a%2Fb"])
def test_every_page_is_the_one_page_and_is_asked_for_again(static: Path, path: str) -> None:
    answer = get(static, path)
    assert answer.status_code == 200
    assert "Assayer" in answer.text
    assert answer.headers["Cache-Control"] == "no-cache"


def test_the_security_policy_lets_nothing_in_from_elsewhere(static: Path) -> None:
    policy = get(static, "/").headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


def test_assets_are_compressed_and_kept_for_ever(static: Path) -> None:
    answer = get(static, "/assets/index-abc123.js")
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Content-Type"].startswith("text/javascript")


def test_a_missing_asset_and_one_outside_are_not_found(static: Path) -> None:
    assert get(static, "/assets/nothing.js").status_code == 404
    assert get(static, "/assets/..%2Findex.html").status_code == 404


def test_an_unbuilt_dashboard_tells_how_to_build_it(tmp_path: Path) -> None:
    answer = get(tmp_path, "/")
    assert answer.status_code == 503
    assert "make dashboard" in answer.text


def test_pages_are_no_part_of_the_api(static: Path) -> None:
    app = FastAPI()
    mount(app, static)
    assert app.openapi()["paths"] == {}
