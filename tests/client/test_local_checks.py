"""`study overfit` and `study lr-range`: what they refuse before a process starts, and how they show a check."""

from __future__ import annotations

import io
import json
import subprocess
from importlib import machinery
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from rich.console import Console

from service.cli.commands import local_worker
from service.cli.main import main
from service.cli.render.charts import Axes, Chart
from service.cli.render.check_pages import chart_of, check_html, check_page, check_svg
from service.contract.preflight import Check, CheckStatus, Curve, LearningRateRange, PreflightResult
from tests.client.test_look_html import Tags

TRAIN = {
    "data": {"name": "wine"}, "model": {"name": "linear"}, "loss": {"name": "cross_entropy"},
    "optimizer": {"name": "sgd"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def study(**changes: Any) -> str:
    spec = {
        "name": "checked",
        "objective": {"metric": "val/accuracy", "direction": "maximize"},
        "task": {"train": TRAIN},
        "space": {"optimizer.lr": {"type": "float", "low": 1e-3, "high": 0.1, "log": True}},
        "budget": {"trials": 2},
    } | changes
    Path("study.yaml").write_text(yaml.safe_dump(spec))
    return "study.yaml"


def rates() -> PreflightResult:
    curve = Curve(
        name="learning-rate range", x_label="learning rate", y_label="loss", log_x=True,
        x=[1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0], y=[2.0, 2.0, 1.9, 1.0, 0.5, 40.0, None],
    )  # fmt: skip
    check = Check(
        number=4, name="learning_rate", status=CheckStatus.PASSED, sentence="It falls <fast>.", curves=[curve]
    )
    found = LearningRateRange(falls=1e-4, steepest=1e-3, explodes=0.1, proposed=1e-3)
    return PreflightResult(checks=[check], seconds=1, learning_rate=found)


def batch() -> PreflightResult:
    tried: list[tuple[str, list[float | None]]] = [("0.1", [2.0, 2.0, 2.0, 2.0]), ("1", [2.0, 1.0, 0.2, 0.0])]
    curves = [
        Curve(name=f"rate {rate}", x_label="step", y_label="loss", x=[1, 2, 3, 4], y=losses) for rate, losses in tried
    ]
    failed = Check(
        number=3, name="one_batch", status=CheckStatus.FAILED, sentence="No.", remedy="Raise the rate.", curves=curves
    )
    return PreflightResult(checks=[failed], seconds=1)


def drawn(result: PreflightResult) -> str:
    console = Console(width=100, file=io.StringIO())
    with console.capture() as capture:
        console.print(check_page(result))
    return capture.get()


def test_the_plot_of_rates_marks_where_the_loss_falls_is_steepest_and_explodes_and_the_proposal() -> None:
    page = drawn(rates())
    lines = page.splitlines()
    axis = next(at for at, line in enumerate(lines) if "└" in line)
    first, second, ticks = lines[axis + 1 : axis + 4]
    left = lines[axis].index("└") + 1
    # From 1e-6 to 1 there are six decades over 64 columns: 1e-4 lies at two sixths, 1e-3 in the middle.
    assert {letter: first.index(letter) - left for letter in "FSE"} == {"F": 21, "S": 32, "E": 52}
    assert second.index("P") - left == 32
    assert ticks.split() == ["1e-6", "1e-5", "1e-4", "1e-3", "1e-2", "1e-1", "1e0"]
    for words in ("F  the loss begins to fall at 0.0001", "S  it falls fastest at 0.001", "E  it explodes at 0.1"):
        assert words in page
    assert "P  proposed: begin with optimizer.lr = 0.001" in page
    assert "✓  It falls <fast>." in page


def test_a_curve_that_explodes_does_not_flatten_the_others() -> None:
    chart = chart_of(rates())
    assert chart is not None
    axes = Axes.of(chart)
    assert (axes.y_low, axes.y_high, axes.is_cut) == (0.5, 0.5 + 1.25 * 1.5, True)
    assert (axes.y(40.0), axes.y(None), axes.y(0.5)) == (1.0, 1.0, 0.0)
    flat = Chart([Curve(name="flat", x_label="step", y_label="loss", x=[1, 2], y=[3.0, 3.0])], [""])
    assert (Axes.of(flat).y(3.0), Axes.of(flat).is_cut) == (0.0, False)


def test_each_tried_rate_is_a_curve_of_its_own() -> None:
    page = drawn(batch())
    rows = [line.partition("│")[2] for line in page.splitlines() if "│" in line]
    assert (rows[0].count("a"), rows[-1].rstrip()[-1]) == (64, "b")
    assert "a  rate 0.1" in page
    assert "b  rate 1" in page
    assert "→ Raise the rate." in page


def test_the_svg_is_a_file_of_its_own_with_a_description() -> None:
    text = check_svg(rates(), "Learning-rate range")
    assert text is not None
    root = ElementTree.fromstring(text)
    assert "It falls <fast>." in root.attrib["aria-label"]
    space = {"svg": "http://www.w3.org/2000/svg"}
    letters = [each.text for each in root.findall(".//svg:text[@class='letter']", space)]
    assert letters == ["F", "S", "E", "P", "F", "S", "E", "P"]  # in the plot, and in the legend
    assert len(root.findall(".//svg:polyline", space)) == 1
    ys = [float(point.split(",")[1]) for point in root.find(".//svg:polyline", space).attrib["points"].split()]  # type: ignore[union-attr]
    assert max(ys) == ys[4]
    assert min(ys) == ys[5] == ys[6]


def test_the_html_page_loads_nothing() -> None:
    page = check_html(batch(), "One batch overfitted", "<study>.yaml")
    tags = Tags(page)
    assert tags.open == []
    assert {"script", "link", "iframe", "a", "img"}.isdisjoint(tag for tag, _ in tags.seen)
    assert "<study>.yaml" in tags.text
    assert "Raise the rate." in tags.text
    assert len([tag for tag, _ in tags.seen if tag == "polyline"]) == 2


def test_a_check_without_curves_has_no_plot() -> None:
    check = Check(number=4, name="learning_rate", status=CheckStatus.NOT_RUN, sentence="The optimizer has no rate.")
    result = PreflightResult(checks=[check], seconds=0)
    assert check_svg(result, "") is None
    assert "The optimizer has no rate." in check_html(result, "", "")
    assert "└" not in drawn(result)


@pytest.mark.parametrize(
    ("changes", "arguments", "words"),
    [
        ({"task": {"function": "mine:train"}}, [], "trains the model of a train task, and the study has a function"),
        ({"task": None}, [], "the study has no task; worker preflight study.yaml checks functions and commands"),
        ({}, ["--svg", "plot.png"], "--svg: the file's name must end with .svg, got 'plot.png'"),
        ({}, ["--html", "plot.svg"], "--html: the file's name must end with .html"),
        ({}, ["--html", "no/plot.html"], "--html: there is no folder no; make it first"),
    ],
)
def test_what_cannot_be_checked_is_refused_before_a_process_starts(
    changes: dict[str, Any],
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a process was started"))
    assert main(["overfit", study(**changes), *arguments]) == 1
    assert words in capsys.readouterr().err


def test_missing_packages_are_named_with_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_spec(name: str) -> machinery.ModuleSpec | None:
        return None if name == "torch" else machinery.PathFinder.find_spec(name)

    monkeypatch.setattr(local_worker, "find_spec", find_spec)
    assert main(["lr-range", study()]) == 1
    assert "packages are missing: pip install 'assayer[worker]'" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "number"), [("overfit", "3"), ("lr-range", "4")])
def test_the_options_reach_the_worker_and_a_failed_check_sets_the_status(
    command: str, number: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processes themselves are tested in tests/e2e/test_preflight.py."""
    started: list[list[str]] = []

    def run(words: list[str], **_: Any) -> SimpleNamespace:
        started.append(words)
        mapping = (rates() if number == "4" else batch()).model_dump(mode="json") | {"status": "failed"}
        return SimpleNamespace(stdout=json.dumps(mapping), returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    options = ["--seconds", "5", "--gpu", "1", "--register", "a", "--register", "b"]
    status = main([command, study(), *options, "--svg", "plot.svg", "--json"])
    assert status == (1 if number == "3" else 0)
    assert started[0][2:] == [
        "worker", "preflight", "study.yaml", "--json", "--only", number, "--seconds=5", "--gpu=1", "--register=a",
        "--register=b",
    ]  # fmt: skip
    printed = capsys.readouterr()
    assert PreflightResult.model_validate_json(printed.out).checks[0].number == int(number)
    assert Path("plot.svg").read_text().startswith("<svg ")
    assert ("study.yaml did not pass: one_batch" in printed.err) is (number == "3")


def test_a_worker_that_cannot_check_the_study_has_said_why(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for code, words in ((2, "see the message above"), (-9, "its worker ended with -9")):
        monkeypatch.setattr(subprocess, "run", lambda *_, code=code, **__: SimpleNamespace(stdout="", returncode=code))
        assert main(["overfit", study()]) == 1
        assert words in capsys.readouterr().err
