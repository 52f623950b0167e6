"""`study look`: its page fits 80 columns, its JSON has stable keys, and a file that cannot be read is one sentence."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from service.cli.inspect_data import InspectOptions
from service.cli.look import row_sample
from service.cli.look.look import look
from service.cli.look.report import Report
from service.cli.main import main
from service.cli.parser import parser
from service.cli.render.look_html import html_page
from service.cli.render.look_pages import look_page
from service.client.errors import InvalidStudy
from tests.support.service import ROOT

DIABETES = str(ROOT / "examples" / "data" / "diabetes.csv")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def houses(num: int = 200, name: str = "houses.csv") -> str:
    """A table with some of everything: ids, dates, gaps, an odd number and an escape sequence."""
    numbers = np.random.default_rng(0)
    with Path(name).open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "sold", "area [m²]", "town", "\x1b[31mrooms", "price"])
        for row in range(num):
            area = round(float(numbers.gamma(9, 10)), 1)
            gap = "" if row % 3 == 0 else f"{numbers.integers(1, 7)}"
            town = ("Bern", "<b>Basel</b>", "[red]Thun[/red]")[row % 3]
            rows.writerow([row, f"2024-01-{row % 28 + 1:02}", area, town, gap, round(area * 5 + numbers.normal() * 80)])
    return name


def asked(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    assert main(["look", *words]) == status
    out, err = capsys.readouterr()
    return err if status else out


def test_the_page_begins_with_the_findings(capsys: pytest.CaptureFixture[str]) -> None:
    page = asked(capsys, houses(), "--target", "price")
    lines = page.splitlines()
    assert lines[0] == "houses.csv: 200 rows, 5 columns, target price (regression)"
    assert lines[2] == "Findings: 3 warnings"
    assert "leave it out of data.features" in page
    assert "data.id: id" in page
    assert "Bern" in page
    assert "[red]Thun[/red]" in page, "texts of the file are no markup"
    assert "\x1b[31m" not in page, "texts of the file do not command the terminal"
    assert max(map(len, lines)) < 500, "a pipe gets no padding"
    assert "data: {name: csv, path: houses.csv, target: price, kind: regression, features:" in page


@pytest.mark.parametrize("width", [80, 120])
def test_the_page_fits_its_width_and_shows_every_column(width: int) -> None:
    report = look(houses(), InspectOptions("price"))
    written = io.StringIO()
    Console(file=written, width=width, markup=False, highlight=False).print(look_page(report))
    page = written.getvalue()
    assert max(len(line) for line in page.splitlines()) <= width
    for column in ("id", "sold", "area [m²]", "town", " [31mrooms"):
        assert any(line.startswith(f"  {column} ") for line in page.splitlines()), "each has a line in the table"
    assert "█" in page


def test_json_keeps_its_keys(capsys: pytest.CaptureFixture[str]) -> None:
    page = json.loads(asked(capsys, houses(), "--target", "price", "--json"))
    assert page["format"] == 1
    assert set(page) == {
        "format",
        "source",
        "kind",
        "num_examples",
        "num_sampled",
        "notes",
        "findings",
        "target",
        "columns",
        "num_duplicates",
        "missing_patterns",
        "images",
        "examples",
        "data",
    }
    assert set(page["findings"][0]) == {"rule", "level", "columns", "figure", "message", "remedy"}
    assert set(page["columns"][0]) == {
        "name",
        "kind",
        "treatment",
        "num_missing",
        "missing_share",
        "num_distinct",
        "numbers",
        "most_frequent",
        "texts",
        "associations",
        "prediction_score",
    }
    assert set(page["columns"][2]["numbers"]) == {
        "low",
        "q1",
        "median",
        "q3",
        "high",
        "mean",
        "std",
        "num_outliers",
        "histogram",
    }
    assert {each["measure"] for column in page["columns"] for each in column["associations"]} == {
        "pearson",
        "spearman",
        "correlation_ratio",
    }
    report = Report.model_validate(page)
    assert report.model_dump(mode="json") == page
    assert {each["rule"] for each in page["findings"]} == {"identifier", "dates", "often_missing"}


def test_the_same_seed_gives_the_same_page(capsys: pytest.CaptureFixture[str]) -> None:
    words = (houses(), "--target", "price", "--json")
    assert asked(capsys, *words) == asked(capsys, *words)
    drawn = [
        [each["index"] for each in json.loads(asked(capsys, *words, "--seed", seed))["examples"] if not each["why"]]
        for seed in ("1", "2")
    ]
    assert drawn[0] != drawn[1]


def test_without_a_target_the_columns_are_described(capsys: pytest.CaptureFixture[str]) -> None:
    page = asked(capsys, houses())
    assert page.splitlines()[1].startswith("Without --target COLUMN")
    assert "Strongest" not in page
    assert "In the study file" not in page


def test_a_large_file_is_sampled_and_the_page_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_sample, "MAX_CELLS", 6 * 500)
    report = look(houses(20_000), InspectOptions("price"))
    assert (report.num_examples, report.num_sampled) == (20_000, 500)
    (note,) = report.notes
    assert note.startswith("Statistics are of 500 of 20,000 rows, drawn at random by seed 0.")
    assert report.columns[4].num_missing == 6667, "missing values are counted in all rows"
    assert "identifier" in {finding.rule for finding in report.findings}


def test_the_readings_of_options_are_those_of_init(capsys: pytest.CaptureFixture[str]) -> None:
    page = json.loads(asked(capsys, houses(), "--target", "price", "--categorical", "\x1b[31mrooms", "--json"))
    assert page["columns"][4]["kind"] == "categories"
    Path("k.csv").write_text("수;도시\n" + "1;서울\n2;부산\n" * 30, encoding="cp949")
    page = json.loads(asked(capsys, "k.csv", "--target", "도시", "--json"))
    assert page["notes"][0] == "Read as cp949."
    assert page["data"]["encoding"] == "cp949"
    assert page["data"]["delimiter"] == ";"


BROKEN: dict[str, tuple[str, bytes, str]] = {
    "empty": ("t.csv", b"", "t.csv: is empty\n"),
    "a header alone": ("t.csv", b"x,y\n", "t.csv: has no rows below its header\n"),
    "binary": ("t.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "t.csv: is not a CSV file: it holds binary data\n"),
    "a short row": ("t.csv", b"x,y\n1,2\n3\n", "t.csv: line 3 has 1 values, the header has 2\n"),
    "an open quote": ("t.csv", b'x,y\n1,2\n3,"' + b"z" * 200_000, "t.csv: is not a CSV file: field larger than"),
    "a long line": ("t.csv", b"x,y\n" + b"1" * (1 << 21), "t.csv: is not a CSV file: "),
    "no Parquet": ("t.parquet", b"PAR1 no", "t.parquet: is not a Parquet file: "),
    "a folder": ("folder/t.csv", b"", "folder: holds no images in folders of classes"),
    "another kind": ("t.docx", b"x", "t.docx: is no .csv"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_one_sentence(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, content, said = BROKEN[case]
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    refusal = asked(capsys, "folder" if case == "a folder" else name, status=1)
    assert refusal.startswith(said)
    assert refusal.count("\n") == 1


CELLS = [
    "", "?", "0", "-0.0", "1", "7", "1e308", "-1e308", "5e-324", "inf", "nan", "9" * 400, "1,234", "3 kg", "12 %",
    "a", "A ", "`b`", "2024-01-31", "31/01/2024", "20240131", "true", "\x85", "\u2028x", "x" * 3000, "say what it is",
]  # fmt: skip


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.sampled_from(CELLS), min_size=1, max_size=4), min_size=2, max_size=4),
    st.sampled_from([None, "classification", "regression"]),
    st.integers(1, 60),
)
def test_any_table_has_a_page_or_is_one_sentence(columns: list[list[str]], task: Any, num_rows: int) -> None:
    with Path("any.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow([f"c{place}" for place in range(len(columns))])
        rows.writerows(
            [column[(row + place) % len(column)] for place, column in enumerate(columns)] for row in range(num_rows)
        )
    report, refusal = None, ""
    try:
        report = look("any.csv", InspectOptions("c0", task))
    except InvalidStudy as error:
        refusal = str(error)
    if report is None:
        assert len(refusal.splitlines()) == 1
        return
    assert Report.model_validate_json(report.model_dump_json()) == report
    assert html_page(report).endswith("</html>\n")
    Console(file=io.StringIO(), width=80).print(look_page(report))
    assert all(finding.message and finding.remedy for finding in report.findings)


def test_mistakes_are_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(capsys, houses(), "--target", "prize", status=1) == (
        "--target: there is no column 'prize'; did you mean 'price'?\n"
    )
    assert "built-in set, which only the worker has" in asked(capsys, "digits", status=1)
    assert asked(capsys, "nowhere.csv", status=1).startswith("nowhere.csv: there is no such file or folder")
    assert "regression needs" in asked(capsys, houses(), "--target", "town", "--task", "regression", status=1)


def test_the_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["look", "--help"])
    text = capsys.readouterr().out
    for word in ("--target", "--json", "--seed", "error", "warning", "note", "Spearman", "half of the rows"):
        assert word in text
