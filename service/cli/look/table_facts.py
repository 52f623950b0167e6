"""The facts about a table's sample on which findings rest: parsed columns, the target, and what relates them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from service.cli import data_columns
from service.cli.column_texts import MAX_NUMBER, NumberRules, mixed_column_message
from service.cli.data_columns import ColumnKind, ColumnTreatment
from service.cli.inspect_data import InspectOptions, kind_of_target
from service.cli.look import statistics
from service.cli.look.one_column_rule import prediction_score
from service.cli.look.report import Association
from service.cli.look.row_sample import RowSample
from service.cli.look.statistics import Codes, Floats, Values
from service.client.errors import invalid_study
from service.contract.validation_errors import did_you_mean

MISSING_CODE = -1


@dataclass(frozen=True)
class ColumnFacts:
    """A column of the sample, parsed as the training core will read it."""

    name: str
    treatment: ColumnTreatment
    values: data_columns.Column
    """The values as they are in the file."""
    numbers: Floats | None
    """The values of a column of numbers [n], NaN where one is missing."""
    codes: Codes
    """An integer for each value [n], MISSING_CODE where one is missing; equal where the values are equal."""
    associations: list[Association] = field(default_factory=list)
    score: float | None = None
    """How well the column alone predicts the target: see `prediction_score`."""
    missing_association: float | None = None
    """How strongly the target is associated with whether the column has a value."""

    @property
    def kind(self) -> ColumnKind:
        """What the column holds."""
        return self.treatment.kind

    @property
    def present(self) -> Any:
        """Whether each row has a value, [n]."""
        return self.codes != MISSING_CODE

    @property
    def num_distinct(self) -> int:
        """The number of different values."""
        return len(np.unique(self.codes[self.present]))


@dataclass(frozen=True)
class TargetFacts:
    """The target of the sample."""

    name: str
    kind: Literal["classification", "regression"]
    values: list[Any]
    """The values as the core reads them; None where one is missing."""
    target: Values
    """Numbers [n] of a regression, NaN where one is missing; codes of classes, MISSING_CODE where one is missing."""
    refusal: str = ""
    """Why the core cannot read the target."""

    @property
    def present(self) -> Any:
        """Whether each row has a target, [n]."""
        return ~np.isnan(self.target) if self.target.dtype.kind == "f" else self.target != MISSING_CODE


@dataclass(frozen=True)
class TableFacts:
    """What is known about a table's sample."""

    sample: RowSample
    columns: Mapping[str, ColumnFacts]
    """The features, without the target."""
    target: TargetFacts | None
    seed: int

    @property
    def num_rows(self) -> int:
        """The number of rows in the sample."""
        return len(self.sample.indices)

    @property
    def is_sampled(self) -> bool:
        """Whether the table has more rows than the sample."""
        return self.num_rows < self.sample.num_rows


def gather(
    source: str, sample: RowSample, asked: InspectOptions, *, seed: int, notice: Callable[[float], None], is_text: bool
) -> TableFacts:
    """Parse the columns of a sample and relate each to the target.

    Args:
        source: the file, for error messages.
        sample: the rows.
        asked: the user's options.
        seed: decides the halves of the one-column rules.
        notice: is called with the share of the columns that has been analysed.
        is_text: whether all values are texts, numbers included (CSV).

    Raises:
        InvalidStudy: an option names a column that does not exist, or the table is empty.
    """
    names = [] if asked.target is None else [asked.target]
    for option, required in (("--target", names), ("--categorical", asked.rules.categorical)):
        for name in required:
            if name not in sample.columns:
                raise invalid_study(option, f"there is no column {name!r}; {did_you_mean(name, sample.columns)}")
    if not sample.num_rows:
        raise invalid_study(source, "has no rows below its header" if sample.columns else "is empty")
    usual = data_columns.usual_decimal(sample.columns, asked.rules, is_text=is_text)
    target = None
    if asked.target is not None:
        target = _target(asked.target, sample.columns[asked.target], asked, usual, is_text=is_text)
    others = {name: values for name, values in sample.columns.items() if name != asked.target}
    columns = {}
    for position, (name, values) in enumerate(others.items()):
        treatment = data_columns.read_features({name: values}, asked.rules, usual, is_text=is_text)[name]
        facts = _column(name, values, treatment, asked.rules)
        columns[name] = facts if target is None else _related(facts, target, seed)
        notice((position + 1) / len(others))
    return TableFacts(sample, columns, target, seed)


def _column(name: str, values: data_columns.Column, treatment: ColumnTreatment, rules: NumberRules) -> ColumnFacts:
    if treatment.kind == "numbers":
        parsed = data_columns.to_numbers(values, treatment.numbers, rules)
        numbers = np.array([math.nan if each is None else each for each in parsed], dtype=np.float64)
        # Training refuses larger numbers, and their squares would overflow here.
        numbers = np.where(np.abs(numbers) > MAX_NUMBER, np.copysign(np.inf, numbers), numbers)
        codes = np.full(len(numbers), MISSING_CODE, dtype=np.int64)
        has_value = ~np.isnan(numbers)
        codes[has_value] = np.unique(numbers[has_value], return_inverse=True)[1]
        return ColumnFacts(name, treatment, values, numbers, codes)
    markers = set(rules.na_values)
    texts = [None if each is None or str(each).strip() in markers else str(each) for each in values]
    codes = statistics.codes_of(texts)
    absent = np.array([each is None for each in texts], dtype=bool)
    return ColumnFacts(name, treatment, values, None, np.where(absent, MISSING_CODE, codes))


def _target(name: str, values: data_columns.Column, asked: InspectOptions, usual: Any, *, is_text: bool) -> TargetFacts:
    are_classes = asked.kind == "classification" or name in asked.rules.categorical
    read, texts = data_columns.read_target(values, asked.rules, usual, are_classes=are_classes, is_text=is_text)
    refusal = ""
    if texts is not None and texts.others and not are_classes:
        refusal = mixed_column_message(name, texts, "write data.kind: classification if they are classes")
    present = [value for value in read if value is not None]
    kind: Literal["classification", "regression"] = "classification"
    if asked.kind == "regression" or (
        asked.kind is None and not are_classes and kind_of_target(present) == "regression"
    ):
        kind = "regression"
    if kind == "regression":
        if not all(isinstance(value, int | float) for value in present):
            raise invalid_study("--task", f"column {name!r} has values that are not numbers, which regression needs")
        if not refusal:
            refusal = data_columns.wrong_number(f"column {name!r}", read, is_text=is_text) if present else ""
        numbers = np.array([_to_float(value) for value in read], dtype=np.float64)
        numbers[~(np.abs(numbers) <= MAX_NUMBER)] = math.nan
        return TargetFacts(name, kind, list(read), numbers, refusal)
    labels = [None if value is None else str(value) for value in read]
    absent = np.array([label is None for label in labels], dtype=bool)
    codes = np.where(absent, MISSING_CODE, statistics.codes_of(labels))
    return TargetFacts(name, kind, labels, codes, refusal)


def _to_float(value: float | None) -> float:
    """Return a target as a float: NaN for a missing one, and for a whole number beyond all floats."""
    try:
        return math.nan if value is None else float(value)
    except OverflowError:
        return math.nan


def _related(column: ColumnFacts, target: TargetFacts, seed: int) -> ColumnFacts:
    """Return the column with its associations with the target."""
    known = target.present
    targets = target.target[known]
    feature: Values = column.codes[known] if column.numbers is None else column.numbers[known]
    if column.numbers is not None:
        feature = np.where(np.isfinite(feature), feature, math.nan)
    has_value = column.present[known]
    missing = None
    if 0 < has_value.sum() < len(has_value):
        missing = _strength(has_value.astype(np.int64), targets)
    return replace(
        column,
        associations=_associations(column, feature, targets),
        score=prediction_score(feature, targets, seed),
        missing_association=missing,
    )


def _associations(column: ColumnFacts, feature: Values, targets: Values) -> list[Association]:
    if column.numbers is not None:
        finite = np.isfinite(feature)
        feature, targets = feature[finite], targets[finite]
        if targets.dtype.kind != "f":
            return _named("correlation_ratio", statistics.correlation_ratio(targets, feature))
        both = _named("pearson", statistics.pearson(feature, targets))
        return both + _named("spearman", statistics.spearman(feature, targets))
    if column.kind not in ("categories", "truth"):
        return []
    if targets.dtype.kind == "f":
        return _named("correlation_ratio", statistics.correlation_ratio(feature, targets))
    return _named("cramers_v", statistics.cramers_v(feature, targets))


def _strength(codes: Codes, targets: Values) -> float | None:
    """Return the association of a column of codes with the target, from 0 to 1."""
    if targets.dtype.kind == "f":
        return statistics.correlation_ratio(codes, targets)
    return statistics.cramers_v(codes, targets)


def _named(measure: Any, value: float | None) -> list[Association]:
    return [] if value is None else [Association(measure=measure, value=value)]
