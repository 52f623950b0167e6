"""`study init` and the training core read the columns of a table alike, over a corpus of dirty files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from service.cli import inspect_data
from service.cli.column_texts import NumberRules
from service.client.errors import InvalidStudy
from tests.support.service import ROOT
from worker.training import ConfigError
from worker.training.data import DATA

ROWS = 60
COLUMNS: dict[str, Sequence[str]] = {
    "plain": ["1", "2.5", "-3"],
    "whole": ["1", "2", "3"],
    "constant": ["7"],
    "empty": [""],
    "markers": ["1", "?", "N/A", "-", "n.a.", "2", "none"],
    "nulls": ["1", "NULL", "2", "NaN", "nan", "#N/A"],
    "spaces": [" 12 ", "3", "4 "],
    "dirty spaces": [" 12 ", "?", "4 "],
    "thousands": ["1,234.50", "12,000", "3.5"],
    "decimal comma": ["1.234,50", "3,5", "12"],
    "ambiguous comma": ["1,234", "5,678"],
    "ambiguous point": ["1.234", "5.678"],
    "ambiguous point and whole": ["1.234", "5678", "0"],
    "point": ["1.234", "5.67"],
    "grouped": ["1 234", "5 678 901,5"],
    "currency": ["$5", "-$1,200.5", "$7"],
    "euro": ["5,00 €", "1.200,50 €"],
    "percent": ["12%", "5 %"],
    "exponent": ["1e5", "?", "2E-1"],
    "unit": ["5 kg", "7.5 kg"],
    "unit with a digit": ["80 m2", "75.5 m2"],
    "unit with a slash": ["80 km/h", "75 km/h"],
    "units": ["5 kg", "7.5 kg", "3 lb"],
    "mostly numbers": ["1", "2", "3", "ca. 12"],
    "half numbers": ["1", "2", "b", "a"],
    "both signs": ["1.5", "2,5", "3.5"],
    "ordinals": ["1st", "2nd", "3rd"],
    "codes": ["A1", "B2"],
    "ranges": ["10-19", "20-29"],
    "versions": ["1.2.3", "1.2.4"],
    "colours": ["red", "green", "blue", "NA", "?"],
    "one colour": ["red"],
    "truth": ["true", "false"],
    "gappy truth": ["True", "", "False"],
    "unclear truth": ["true", "false", "unknown"],
    "days": ["2024-01-31", "2024-02-01"],
    "moments": ["2024-01-31 10:00:00", "2024-02-01 11:30:00"],
    "times": ["10:30", "11:45:10"],
    "infinite": ["1", "2.5", "inf"],
    "dirty infinite": ["1", "?", "-Infinity"],
    "huge": ["1", "2.5", "1e300"],
    "leading zeros": ["007", "010"],
    "signs": ["+5", "-5"],
    "bare points": [".5", "5."],
    "underscores": ["1_000", "2_000"],
    "quotes": ['a "b"', "c, d"],
    "names": [f"n{row}" for row in range(ROWS)],
    "sentences": [f"this is the sentence {row}" for row in range(ROWS)],
    "drowned": ["1", "2", "3", *[str(row) for row in range(ROWS - 4)], "1e30"],
}
TARGETS: dict[str, Sequence[str]] = {
    **{f"of {name}": values for name, values in COLUMNS.items() if name not in {"names", "sentences", "times"}},
    "few": ["0", "1"],
    "many": [str(row) for row in range(ROWS)],
    "fractions": [f"{row}.5" for row in range(ROWS)],
    "dirty fractions": [f"{row},5" for row in range(ROWS)],
    "dear": [f"$1,{row:03}" for row in range(ROWS)],
    "mixed": [str(row) if row else "none at all" for row in range(ROWS)],
}


def table(columns: dict[str, Sequence[str]], delimiter: str = ",") -> str:
    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in (delimiter, '"')) else text

    lines = [delimiter.join(columns)]
    lines += [delimiter.join(cell(values[row % len(values)]) for values in columns.values()) for row in range(ROWS)]
    return "\n".join(lines) + "\n"


def lines(looked: inspect_data.DataSummary) -> list[str]:
    """How each column is read, as the core words it."""
    return [f"{name}: {description}" for name, description in looked.columns.items()]


def said_by_init(path: Path, rules: NumberRules) -> tuple[list[str], str]:
    """What `study init` says of the columns, or why it refuses."""
    try:
        looked = inspect_data.inspect_data(str(path), inspect_data.InspectOptions("y", rules=rules))
    except InvalidStudy as refusal:
        return [], str(refusal)
    assert looked.data["name"] == path.suffix[1:]
    return lines(looked), ""


def done_by_core(path: Path, rules: NumberRules, features: list[str] | None = None) -> tuple[list[str], str]:
    """What the core makes of them, or why it refuses."""
    given = {"path": str(path), "target": "y", "na_values": rules.na_values, "categorical": rules.categorical}
    given |= {} if features is None else {"features": features}
    try:
        told = DATA.create(path.suffix[1:], DATA.check(path.suffix[1:], given)).columns
        # Constant features are known after the split only, and `study init` leaves them out.
        return [line for line in told if "one value in all training examples" not in line], ""
    except ConfigError as refusal:
        return [], refusal.message


def agree(path: Path, rules: NumberRules | None = None) -> None:
    """Assert that both say the same of a table with the columns x and y."""
    rules = rules or NumberRules()
    said, refused = said_by_init(path, rules)
    done, why = done_by_core(path, rules)
    if said:
        assert said == done, why
    elif "no column to learn from" in refused:
        assert "no numbers or text" in why or "different texts" in why
    elif "only one value" in refused:
        assert "only the class" in why or "nothing to learn" in why
    else:
        assert why
        # The first words name the column and its fault; remedies are each one's own.
        assert why.split(";")[0][:70] in refused, refused


def test_both_have_the_same_rules() -> None:
    for name in ("column_texts.py", "csv_dialect.py"):
        core, copy = ROOT / "worker/training/data" / name, ROOT / "service/cli" / name
        assert core.read_bytes() == copy.read_bytes(), f"cp {core.relative_to(ROOT)} {copy.relative_to(ROOT)}"


@pytest.mark.parametrize("case", [name for name in COLUMNS if name not in {"sentences", "days", "moments", "times"}])
def test_features(case: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(table({"x": COLUMNS[case], "y": [f"{row}.5" for row in range(ROWS)]}))
    agree(path)
    agree(path, NumberRules(na_values=["2", "ca. 12", "unknown", "red"]))
    agree(path, NumberRules(categorical=["x"]))


@pytest.mark.parametrize("case", TARGETS)
def test_targets(case: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(table({"x": ["1", "2", "3"], "y": TARGETS[case]}))
    agree(path)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_whole_tables(delimiter: str, tmp_path: Path) -> None:
    usable = {
        name: values
        for name, values in COLUMNS.items()
        if name not in {"units", "mostly numbers", "both signs", "infinite", "dirty infinite", "huge", "drowned"}
    }
    path = tmp_path / "t.csv"
    path.write_text(table({**usable, "y": [f"{row}.5" for row in range(ROWS)]}, delimiter))
    looked = inspect_data.inspect_data(str(path), inspect_data.InspectOptions("y"))
    assert looked.data.get("delimiter", ",") == delimiter
    done, why = done_by_core(path, NumberRules(), looked.data["features"])
    assert lines(looked) == done, why
    assert {each.split()[0] for each in looked.left_out} == {"days", "moments", "times", "sentences"}


@pytest.mark.parametrize("case", [name for name in COLUMNS if name not in {"sentences", "days", "moments", "times"}])
def test_texts_of_parquet(case: str, tmp_path: Path) -> None:
    values = [COLUMNS[case][row % len(COLUMNS[case])] or None for row in range(ROWS)]
    path = tmp_path / "t.parquet"
    parquet.write_table(
        pa.table({"x": pa.array(values, pa.string()), "y": [row / 2 + 0.25 for row in range(ROWS)]}), path
    )
    agree(path)


@pytest.mark.parametrize("values", [[1, 2, None], [0.5, None, float("nan")], [1.0, 1e300], [True, False, None]])
def test_values_of_parquet(values: list[float | None], tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    column = pa.array([values[row % len(values)] for row in range(ROWS)])
    parquet.write_table(pa.table({"x": column, "y": [row / 2 + 0.25 for row in range(ROWS)]}), path)
    agree(path)
    agree(path, NumberRules(na_values=["2"]))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp949", "cp1252"])
def test_encodings(encoding: str, tmp_path: Path) -> None:
    words = ["café", "señor"] if encoding == "cp1252" else ["서울 사람", "부산"]
    path = tmp_path / "t.csv"
    path.write_text(table({"x": [*words, "?"], "y": [f"{row}.5" for row in range(ROWS)]}), encoding=encoding)
    looked = inspect_data.inspect_data(str(path), inspect_data.InspectOptions("y"))
    written = looked.data.get("encoding", "utf-8")
    assert written == encoding.removesuffix("-sig")
    settings = {name: value for name, value in looked.data.items() if name != "name"}
    assert lines(looked) == list(DATA.create("csv", DATA.check("csv", settings)).columns)
