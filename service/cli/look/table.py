"""Makes the report of a table: CSV, Parquet, or the rows of a NumPy archive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from service.cli.inspect_data import InspectOptions
from service.cli.look import examples, statistics, table_facts, text_statistics
from service.cli.look.column_rules import COLUMN_RULES
from service.cli.look.report import (
    LEFT_OUT,
    Column,
    Count,
    Finding,
    MissingPattern,
    Report,
    Target,
    Texts,
    sort_findings,
)
from service.cli.look.row_sample import RowSample
from service.cli.look.table_facts import ColumnFacts, TableFacts, TargetFacts
from service.cli.look.table_rules import TABLE_RULES
from service.cli.look.wording import percent

_NUM_SHOWN, _NUM_PATTERNS, _MAX_LENGTH = 10, 6, 60


def report_table(
    source: str,
    data: dict[str, Any],
    sample: RowSample,
    asked: InspectOptions,
    *,
    seed: int,
    notice: Callable[[float], None],
    is_text: bool,
) -> Report:
    """Analyse a table's sample.

    Args:
        source: the file as the user named it.
        data: the `data` section's name, path and reading settings.
        sample: the rows.
        asked: the user's options.
        seed: decides examples and halves.
        notice: is called with the share of the work that is done.
        is_text: whether all values are texts, numbers included (CSV).

    Raises:
        InvalidStudy: an option names a column that does not exist, or the table is empty.
    """
    facts = table_facts.gather(source, sample, asked, seed=seed, notice=notice, is_text=is_text)
    findings = sort_findings([each for rule in (*TABLE_RULES, *COLUMN_RULES) for each in rule(facts)])
    return Report(
        source=source,
        kind="table",
        num_examples=sample.num_rows,
        num_sampled=facts.num_rows,
        notes=_notes(facts, data),
        findings=findings,
        target=None if facts.target is None else _target(facts.target),
        columns=[_column(column, facts) for column in facts.columns.values()],
        num_duplicates=sample.num_rows - sample.num_distinct,
        missing_patterns=_missing_patterns(facts),
        examples=examples.choose(facts),
        data=_data_section(data, facts, findings, asked),
    )


def _notes(facts: TableFacts, data: dict[str, Any]) -> list[str]:
    notes = []
    if "encoding" in data:
        notes.append(f"Read as {data['encoding']}.")
    if facts.sample.read_share < 1:
        notes.append(
            f"The file is large: only its first {percent(facts.sample.read_share)} was read "
            f"({facts.sample.num_rows:,} rows). Later rows may differ."
        )
    if facts.is_sampled:
        notes.append(
            f"Statistics are of {facts.num_rows:,} of {facts.sample.num_rows:,} rows, drawn at random by seed "
            f"{facts.seed}. The numbers of rows and of repeated rows are of all rows."
        )
    if not facts.sample.is_distinct_exact:
        notes.append("The number of repeated rows is an estimate.")
    if facts.target is None:
        notes.append("Without --target COLUMN nothing is said about what predicts the target.")
    return notes


def _target(target: TargetFacts) -> Target:
    num_missing = int((~target.present).sum())
    if target.kind == "regression":
        known = np.asarray(target.target[target.present], dtype=np.float64)
        return Target(name=target.name, kind=target.kind, num_missing=num_missing, numbers=statistics.summarise(known))
    counts = Counter(value for value in target.values if value is not None)
    return Target(name=target.name, kind=target.kind, num_missing=num_missing, classes=_most(counts, len(counts)))


def _column(column: ColumnFacts, facts: TableFacts) -> Column:
    missing_share = 1 - float(column.present.mean())
    num_missing = int((~column.present).sum())
    if facts.is_sampled:
        num_missing = max(facts.sample.num_missing[column.name], round(missing_share * facts.sample.num_rows))
    treatment = column.treatment
    exception = treatment.refusal and f"refused: {treatment.refusal}"
    if treatment.left_out:
        exception = f"left out: {treatment.left_out}"
    most: list[Count] = []
    if column.numbers is None and column.kind != "sentences":
        most = _most(Counter(_cut(value) for value in column.values if value is not None), _NUM_SHOWN)
    return Column(
        name=column.name,
        kind=column.kind,
        treatment=exception or treatment.description,
        num_missing=num_missing,
        missing_share=missing_share,
        num_distinct=column.num_distinct,
        numbers=None if column.numbers is None else statistics.summarise(column.numbers),
        most_frequent=most,
        texts=_texts(column),
        associations=column.associations,
        prediction_score=column.score,
    )


def _texts(column: ColumnFacts) -> Texts | None:
    if column.kind != "sentences":
        return None
    return text_statistics.describe([str(value) for value in column.values if value is not None])


def _most(counts: Counter[Any], num: int) -> list[Count]:
    most = sorted(counts, key=lambda value: (-counts[value], str(value)))[:num]
    return [Count(value=str(value), count=counts[value]) for value in most]


def _cut(value: object) -> str:
    text = str(value)
    return text if len(text) <= _MAX_LENGTH else f"{text[: _MAX_LENGTH - 1]}…"


def _missing_patterns(facts: TableFacts) -> list[MissingPattern]:
    """Return the most frequent combinations of missing columns. Empty if no value is missing."""
    gaps = {name: ~column.present for name, column in facts.columns.items() if not column.present.all()}
    if not gaps:
        return []
    matrix = np.stack(list(gaps.values()), axis=1)
    patterns, counts = np.unique(matrix, axis=0, return_counts=True)
    names = np.array(list(gaps), dtype=object)
    order = np.argsort(-counts, kind="stable")[:_NUM_PATTERNS]
    return [MissingPattern(columns=names[patterns[place]].tolist(), num_rows=int(counts[place])) for place in order]


def _data_section(
    data: dict[str, Any], facts: TableFacts, findings: list[Finding], asked: InspectOptions
) -> dict[str, Any]:
    """Return a `data` section that leaves out the columns from which nothing can be learned."""
    if facts.target is None or data["name"] == "npz":
        return data
    left_out = {name for finding in findings if finding.rule in LEFT_OUT for name in finding.columns}
    left_out |= {name for name, column in facts.columns.items() if column.treatment.left_out}
    kept = [name for name in facts.columns if name not in left_out]
    section = {**data, "target": facts.target.name, "kind": facts.target.kind}
    if asked.rules.na_values:
        section["na_values"] = list(asked.rules.na_values)
    if asked.rules.categorical:
        section["categorical"] = list(asked.rules.categorical)
    return section | ({"features": kept} if kept and left_out else {})
