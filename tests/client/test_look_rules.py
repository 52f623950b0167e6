"""Every fault planted in a healthy table is found by `study look`, by one rule, with a remedy that exists."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from sklearn import datasets

from service.cli.column_texts import NumberRules
from service.cli.inspect_data import InspectOptions
from service.cli.look import table as look_table
from service.cli.look.look import look
from service.cli.look.report import Finding, Report
from service.cli.look.table_facts import TableFacts
from service.contract.catalogue import load_catalogue

NUM = 400
Table = dict[str, list[object]]


def healthy(seed: int = 0) -> Table:
    """A table in which nothing is wrong: two numbers, a category, a flag, and three classes."""
    numbers = np.random.default_rng(seed)
    x, z = numbers.normal(size=NUM), numbers.gamma(3, 2, NUM)
    colour = numbers.integers(0, 3, NUM)
    noisy = x + 0.4 * (colour == 1) + numbers.normal(size=NUM)
    return {
        "x": [round(float(each), 4) for each in x],
        "z": [round(float(each), 4) for each in z],
        "colour": [("red", "green", "blue")[each] for each in colour],
        "flag": [("true", "false")[each] for each in numbers.integers(0, 2, NUM)],
        "y": [("low", "middle", "high")[int(each > -0.4) + int(each > 0.6)] for each in noisy],
    }


def regression(seed: int = 0) -> Table:
    """The same with a number to predict."""
    table = healthy(seed)
    chance = np.random.default_rng(seed + 1)
    return table | {"y": [round(float(x) + float(noise), 4) for x, noise in zip(table["x"], chance.normal(size=NUM))]}  # type: ignore[arg-type] # noqa: B905


def examine(path: Path, table: Table, target: str | None = "y", rules: NumberRules | None = None) -> Report:
    if path.suffix == ".parquet":
        parquet.write_table(pa.table(table), path)
    else:
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([list(table), *zip(*table.values(), strict=True)])
    return look(str(path), InspectOptions(target, rules=rules or NumberRules()))


def some(values: list[object], every: int, other: object) -> list[object]:
    return [other if row % every == 0 else value for row, value in enumerate(values)]


CHANCE = np.random.default_rng(7)
DAYS = [datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=row % 200) for row in range(NUM)]


def with_column(name: str, values: Callable[[Table], list[object]], base: Callable[[], Table] = healthy) -> Table:
    table = base()
    return {name: values(table), **table}


def sentences_of(num: int = NUM) -> list[object]:
    words = ["a", "quiet", "road", "by", "the", "long", "river", "that", "nobody", "crosses", "after", "snow"]
    return [f"{' '.join(CHANCE.choice(words, 9))} number {row}" for row in range(num)]


def doubled() -> Table:
    return {name: values[: NUM - 40] + values[:40] for name, values in healthy().items()}


def changed(name: str, change: Callable[[list[object]], list[object]], base: Callable[[], Table] = healthy) -> Table:
    table = base()
    return table | {name: change(table[name])}


def conflicting() -> Table:
    table = {name: values[: NUM - 100] + values[:100] for name, values in healthy().items()}
    flipped = {"low": "high", "middle": "low", "high": "middle"}
    return table | {"y": table["y"][: NUM - 100] + [flipped[str(label)] for label in table["y"][:100]]}


FAULTS: dict[str, tuple[Callable[[], Table], str, str, str]] = {
    # name: (table, rule, level, column that the finding names)
    "a constant": (lambda: with_column("k", lambda _: [3] * NUM), "constant", "warning", "k"),
    "a constant text": (lambda: with_column("k", lambda _: ["ab"] * NUM), "constant", "warning", "k"),
    "almost constant": (lambda: with_column("k", lambda _: [*[0] * (NUM - 1), 5]), "nearly_constant", "note", "k"),
    "no values": (lambda: with_column("k", lambda _: [None] * NUM), "empty", "warning", "k"),
    "row numbers": (lambda: with_column("n", lambda _: list(range(NUM))), "identifier", "warning", "n"),
    "shuffled numbers": (
        lambda: with_column("n", lambda _: CHANCE.permutation(NUM).tolist()),
        "identifier",
        "warning",
        "n",
    ),
    "long numbers named so": (
        lambda: with_column("accountId", lambda _: CHANCE.choice(10**9, NUM, replace=False).tolist()),
        "identifier",
        "warning",
        "accountId",
    ),
    "text ids": (
        lambda: with_column("ref", lambda _: [f"F-{row:05}" for row in range(NUM)]),
        "identifier",
        "warning",
        "ref",
    ),
    "patients": (
        lambda: with_column("patient", lambda _: [f"p{row % 80}" for row in CHANCE.permutation(NUM)]),
        "grouping",
        "warning",
        "patient",
    ),
    "user ids": (
        lambda: with_column("userId", lambda _: (1000 + CHANCE.integers(0, 60, NUM)).tolist()),
        "grouping",
        "warning",
        "userId",
    ),
    "zip codes": (
        lambda: with_column("zip", lambda _: CHANCE.integers(10_000, 99_999, NUM).tolist()),
        "codes",
        "note",
        "zip",
    ),
    "dates": (lambda: with_column("day", lambda _: [f"{day:%Y-%m-%d}" for day in DAYS]), "dates", "warning", "day"),
    "other dates": (
        lambda: with_column("day", lambda _: [f"{day:%d/%m/%Y}" for day in DAYS]),
        "dates",
        "warning",
        "day",
    ),
    "dates as numbers": (
        lambda: with_column("day", lambda _: [f"{day:%Y%m%d}" for day in DAYS]),
        "dates",
        "warning",
        "day",
    ),
    "half is missing": (lambda: changed("z", lambda values: some(values, 2, None)), "often_missing", "warning", "z"),
    "markers are missing": (lambda: changed("z", lambda values: some(values, 2, "?")), "often_missing", "warning", "z"),
    "missing tells the class": (
        lambda: with_column(
            "bill",
            lambda table: [
                None if label == "high" and row % 3 else round(float(CHANCE.normal()), 3)
                for row, label in enumerate(table["y"])
            ],
        ),
        "informative_missing",
        "warning",
        "bill",
    ),
    "missing tells the number": (
        lambda: with_column(
            "bill",
            lambda table: [None if float(str(y)) > 1.5 else round(float(CHANCE.normal()), 3) for y in table["y"]],
            regression,
        ),
        "informative_missing",
        "warning",
        "bill",
    ),
    "999 for missing": (lambda: changed("z", lambda values: some(values, 50, 999)), "sentinel", "warning", "z"),
    "-1000 for missing": (lambda: changed("x", lambda values: some(values, 50, -1000)), "sentinel", "warning", "x"),
    "a wrong decimal point": (lambda: changed("z", lambda values: [5000, *values[1:]]), "outlier", "warning", "z"),
    "two far numbers": (lambda: changed("x", lambda values: [900, -800, *values[2:]]), "outlier", "warning", "x"),
    "an infinite number": (lambda: changed("x", lambda values: ["inf", *values[1:]]), "refused", "error", "x"),
    "numbers and texts": (lambda: changed("z", lambda values: some(values, 9, "about 3")), "refused", "error", "z"),
    "rare categories": (
        lambda: with_column("town", lambda _: [f"town {at}" for at in CHANCE.integers(0, 150, NUM)]),
        "many_categories",
        "warning",
        "town",
    ),
    "spellings": (lambda: changed("colour", lambda values: some(values, 5, "Red ")), "spelling", "warning", "colour"),
    "a copy of the classes": (
        lambda: with_column("code", lambda table: [hash(label) % 97 for label in table["y"]]),
        "leak",
        "warning",
        "code",
    ),
    "a note on the outcome": (
        lambda: with_column("note", lambda table: [f"{label} risk" for label in table["y"]]),
        "leak",
        "warning",
        "note",
    ),
    "a number derived from the target": (
        lambda: with_column("tax", lambda table: [round(float(str(y)) * 0.19 + 5, 5) for y in table["y"]], regression),
        "leak",
        "warning",
        "tax",
    ),
    "a curve of the target": (
        lambda: with_column(
            "energy", lambda table: [round(np.exp(2 * float(str(y))), 6) for y in table["y"]], regression
        ),
        "leak",
        "warning",
        "energy",
    ),
    "a column that says almost all": (
        lambda: with_column(
            "guess", lambda table: [label if row % 20 else "low" for row, label in enumerate(table["y"])]
        ),
        "strong_column",
        "note",
        "guess",
    ),
    "the same column twice": (
        lambda: with_column("copy", lambda table: list(table["colour"])),
        "identical_columns",
        "warning",
        "copy",
    ),
    "a column in other units": (
        lambda: with_column("inches", lambda table: [round(float(str(x)) / 2.54, 5) for x in table["x"]]),
        "identical_columns",
        "warning",
        "inches",
    ),
    "a column in other codes": (
        lambda: with_column(
            "farbe", lambda table: [{"red": 4, "green": 7, "blue": 1}[str(c)] for c in table["colour"]]
        ),
        "identical_columns",
        "warning",
        "farbe",
    ),
    "repeated rows": (doubled, "duplicate_rows", "warning", ""),
    "equal rows of different classes": (conflicting, "conflicting_rows", "warning", "y"),
    "no target in some rows": (
        lambda: changed("y", lambda values: some(values, 40, None)),
        "target_missing",
        "error",
        "y",
    ),
    "one class": (lambda: changed("y", lambda values: ["low"] * NUM), "target_constant", "error", "y"),
    "numbers and texts in the target": (
        lambda: changed("y", lambda values: some(values, 9, "unknown"), regression),
        "target_refused",
        "error",
        "y",
    ),
    "a class of three": (lambda: changed("y", lambda values: ["odd"] * 3 + values[3:]), "rare_class", "error", "y"),
    "a class of twelve": (
        lambda: changed("y", lambda values: ["odd"] * 12 + values[12:]),
        "rare_class",
        "warning",
        "y",
    ),
    "one class dominates": (
        lambda: changed("y", lambda values: ["low" if row % 12 else "high" for row in range(NUM)]),
        "imbalance",
        "warning",
        "y",
    ),
    "a heavy tail": (
        lambda: changed("y", lambda values: [round(float(np.exp(4 * CHANCE.normal())), 5) for _ in values], regression),
        "heavy_tail",
        "warning",
        "y",
    ),
    "a limit": (
        lambda: changed("y", lambda values: [min(float(str(y)), 1.5) for y in values], regression),
        "capped",
        "note",
        "y",
    ),
    "few rows": (lambda: {name: values[:30] for name, values in healthy().items()}, "few_rows", "warning", ""),
    "more columns than rows": (
        lambda: (
            {f"c{at}": CHANCE.normal(size=60).round(3).tolist() for at in range(70)}
            | {"y": [row % 2 for row in range(60)]}
        ),
        "more_columns_than_rows",
        "warning",
        "",
    ),
    "sentences": (lambda: with_column("says", lambda _: sentences_of()), "sentences", "note", "says"),
    "empty texts": (
        lambda: with_column("says", lambda _: some(sentences_of(), 20, None)),
        "empty_texts",
        "error",
        "says",
    ),
    "repeated texts": (
        lambda: with_column(
            "says",
            lambda _: [
                *sentences_of(NUM - 40),
                *["THE  same words again"] * 20,
                *["the same words again"] * 20,
            ],
        ),
        "duplicate_texts",
        "warning",
        "says",
    ),
    "long texts": (
        lambda: with_column("says", lambda _: some(sentences_of(), 30, "so " * 400 + "it ends")),
        "long_texts",
        "note",
        "says",
    ),
    "the class in the text": (
        lambda: with_column(
            "says",
            lambda _: [f"{each} {('spam', '')[row % 2]}" for row, each in enumerate(sentences_of())],
            lambda: changed("y", lambda _: [("bad", "good")[row % 2] for row in range(NUM)]),
        ),
        "revealing_word",
        "warning",
        "says",
    ),
    "one text, two classes": (
        lambda: with_column("says", lambda _: [*sentences_of(NUM - 6), *["I like it very much indeed"] * 6]),
        "conflicting_texts",
        "warning",
        "says",
    ),
}


def found(report: Report, rule: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.rule == rule]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_by_its_rule_alone(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, rule, level, column = FAULTS[fault]
    table = make()
    (finding,) = found(examine(tmp_path / "table.csv", table), rule)
    assert finding.level == level
    assert column in finding.columns or not column
    assert not column or f"`{column}`" in finding.sentence or f"'{column}'" in finding.sentence, finding.sentence
    assert re.search(r"\d", finding.sentence) or rule in {
        "empty",
        "constant",
        "codes",
        "target_constant",
        "identical_columns",
        "refused",
    }, finding
    name, position = rule_that_finds(rule, tmp_path / "table.csv", table)
    rules = getattr(look_table, name)
    monkeypatch.setattr(look_table, name, rules[:position] + rules[position + 1 :])
    assert found(examine(tmp_path / "table.csv", table), rule) == []


def rule_that_finds(rule: str, path: Path, table: Table) -> tuple[str, int]:
    """The only function that makes findings of this rule: its list, and its place in it."""
    facts: list[TableFacts] = []

    def keep(given: TableFacts) -> Iterator[Finding]:
        facts.append(given)
        return iter(())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(look_table, "TABLE_RULES", (keep,))
        examine(path, table)
    (place,) = [
        (name, position)
        for name in ("COLUMN_RULES", "TABLE_RULES")
        for position, each in enumerate(getattr(look_table, name))
        if any(finding.rule == rule for finding in each(facts[0]))
    ]
    return place


@pytest.mark.parametrize("make", [healthy, regression])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_nothing_is_found_in_a_healthy_table(
    make: Callable[[int], Table], seed: int, ending: str, tmp_path: Path
) -> None:
    table = make(seed)
    if ending == "parquet":
        table["flag"] = [value == "true" for value in table["flag"]]
    assert examine(tmp_path / f"table.{ending}", table).findings == []


HEALTHY = {"digits": {"constant", "nearly_constant"}, "wine": set(), "breast_cancer": set(), "diabetes": set()}


@pytest.mark.parametrize("name", HEALTHY)
def test_known_sets_have_no_finding_but_what_is_true_of_them(name: str, tmp_path: Path) -> None:
    loaded = getattr(datasets, f"load_{name}")()
    table = {column: values.tolist() for column, values in zip(loaded.feature_names, loaded.data.T, strict=True)}
    report = examine(tmp_path / "table.csv", table | {"y": loaded.target.tolist()})
    assert {finding.rule for finding in report.findings} == HEALTHY[name]
    assert report.num_examples == len(loaded.target)
    assert report.target is not None
    assert report.target.kind == ("regression" if name == "diabetes" else "classification")


def test_every_setting_that_a_remedy_names_exists(tmp_path: Path) -> None:
    registries = load_catalogue().registries
    known = {
        f"{section}.{setting}"
        for section, entries in registries.items()
        for entry in entries.values()
        for setting in entry.parameters
    } | {"objective.metric"}
    remedies = {
        finding.sentence for make, *_ in FAULTS.values() for finding in examine(tmp_path / "table.csv", make()).findings
    }
    named = {
        each for text in remedies for each in re.findall(r"\b(?:data|loss|model|optimizer|objective)\.[a-z_]+\b", text)
    }
    assert len(named) > 8
    assert named <= known | {"data.name"}


def test_every_rule_has_a_planted_fault() -> None:
    planted = {rule for _, rule, _, _ in FAULTS.values()}
    sources = [Path(look_table.__file__).with_name(name).read_text() for name in ("column_rules.py", "table_rules.py")]
    written = set(re.findall(r'(?:rule=|target,\n\s+)"(\w+)"', "".join(sources)))
    assert written - planted == {"unreadable"}, "tested below: a CSV file cannot hold such values"


def test_values_that_are_neither_numbers_nor_texts_are_found_in_parquet(tmp_path: Path) -> None:
    table = healthy()
    table["parts"] = [[1, 2]] * NUM
    table["day"] = [day.date() for day in DAYS]
    report = examine(tmp_path / "table.parquet", table)
    assert found(report, "unreadable")[0].columns == ["parts"]
    (dates,) = found(report, "dates")
    assert "from 2020-01-01 to 2020-07-18" in dates.message
    assert report.data["features"] == ["x", "z", "colour", "flag"]


def test_the_proposed_data_section_leaves_out_what_teaches_nothing(tmp_path: Path) -> None:
    table = with_column("n", lambda _: list(range(NUM))) | {"k": [1] * NUM}
    report = examine(tmp_path / "table.csv", table, rules=NumberRules(na_values=["unknown"]))
    assert report.data == {
        "name": "csv",
        "path": str(tmp_path / "table.csv"),
        "target": "y",
        "kind": "classification",
        "na_values": ["unknown"],
        "features": ["x", "z", "colour", "flag"],
    }


def test_missing_values_are_grouped_by_the_columns_that_lack_them(tmp_path: Path) -> None:
    table = changed("x", lambda values: some(values, 4, None))
    table["z"] = some(table["z"], 8, None)
    report = examine(tmp_path / "table.csv", table)
    patterns = {(*pattern.columns,): pattern.num_rows for pattern in report.missing_patterns}
    assert patterns == {(): 300, ("x",): 50, ("x", "z"): 50}
