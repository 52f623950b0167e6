"""The HTML page of `study look` is one file that loads nothing and opens in a browser, in light and dark."""

from __future__ import annotations

import shutil
from html.parser import HTMLParser
from itertools import product
from pathlib import Path

import pytest

from service.cli.inspect_data import InspectOptions
from service.cli.look.look import look
from service.cli.main import main
from service.cli.render.look_html import html_page
from tests.client.test_look import houses

VOID = {"meta", "img"}
GROUNDS = {"light": "rgb(246, 247, 249)", "dark": "rgb(20, 23, 29)"}
"""The colour behind the page in each scheme."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Tags(HTMLParser):
    """Collects tags and attributes, and checks that each tag is closed in its turn."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_one_file_without_scripts_and_links() -> None:
    page = html_page(look(houses(), InspectOptions("price")))
    tags = Tags(page)
    assert tags.open == []
    assert {"script", "link", "iframe", "a"}.isdisjoint(tag for tag, _ in tags.seen)
    assert not [attributes for _, attributes in tags.seen if {"src", "href", "onload"} & attributes.keys()]
    assert "url(" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert len(page) < 200_000


def test_texts_of_the_file_are_shown_as_they_are() -> None:
    page = html_page(look(houses(), InspectOptions("price")))
    tags = Tags(page)
    assert "<b>Basel</b>" in tags.text
    assert "[red]Thun[/red]" in tags.text
    assert ("b", {}) in tags.seen, "the numbers of the tiles"


def test_the_page_shows_findings_plots_and_examples() -> None:
    report = look(houses(), InspectOptions("price"))
    tags = Tags(html_page(report))
    classes = [attributes.get("class") for _, attributes in tags.seen]
    assert classes.count("card finding warning") == len(report.findings) == 3
    numbers = [column for column in report.columns if column.numbers is not None]
    assert classes.count("histogram") == len(numbers) + 1
    assert classes.count("card column") == 5
    for part in (report.source, "Findings", "Columns", "Missing in the same rows", "Examples", "In the study file"):
        assert part in tags.text


def test_wide_tables_have_a_bounded_page(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    rows = [
        ",".join(f"c{at}" for at in range(1500)),
        *(",".join(str((row * at) % 7) for at in range(1500)) for row in range(60)),
    ]
    path.write_text("\n".join(rows))
    page = html_page(look(str(path), InspectOptions("c3")))
    assert "and 1,299 more columns" in page
    assert len(page) < 1_500_000


def test_the_command_writes_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["look", houses(), "--target", "price", "--html", "page.html"]) == 0
    assert capsys.readouterr().err == "wrote page.html\n"
    assert Path("page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert main(["look", houses(), "--html", "houses.csv"]) == 1
    assert capsys.readouterr().err == "--html: the file's name must end with .html, got 'houses.csv'\n"
    assert Path("houses.csv").read_text().startswith("id,sold"), "a file of data is never overwritten"
    assert main(["look", houses(), "--html", "nowhere/page.html"]) == 1
    assert capsys.readouterr().err == "--html: there is no folder nowhere; make it first\n"


@pytest.mark.browser
def test_the_page_opens_in_a_browser(tmp_path: Path) -> None:
    """Wide and narrow, in light and dark; starting Chromium takes longer than all four pages."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only this test needs a browser

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    path = tmp_path / "page.html"
    path.write_text(html_page(look(houses(), InspectOptions("price"))), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("request", lambda request: complaints.append(request.url) if request.url[:5] != "file:" else None)
        for width, (scheme, ground) in product((1200, 390), GROUNDS.items()):
            page.set_viewport_size({"width": width, "height": 800})
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.goto(path.as_uri())
            assert complaints == []
            assert page.evaluate("getComputedStyle(document.body).backgroundColor") == ground, scheme
            assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out"
            heights = page.eval_on_selector_all("svg.histogram .bar", "bars => bars.map(bar => bar.getBBox().height)")
            assert max(heights) > 50, (width, scheme)
        browser.close()
