"""Chooses rows of a table to show: some at random, by a seed, and those with the rarest values."""

from __future__ import annotations

import math
import random

import numpy as np

from service.cli.look.report import Example
from service.cli.look.statistics import LARGEST, Floats
from service.cli.look.table_facts import ColumnFacts, TableFacts

_NUM_RANDOM, _NUM_RARE, _MAX_COLUMNS, _MAX_LENGTH = 4, 4, 40, 120
_FAR, _FEWEST_NUMBERS, _RARE_SHARE = 3, 8, 0.02


def choose(facts: TableFacts) -> list[Example]:
    """Return random rows and rare rows of the sample, with the reason why each of these is rare."""
    chance = random.Random(facts.seed)  # noqa: S311 - a choice of examples, no secret
    drawn = sorted(chance.sample(range(facts.num_rows), min(_NUM_RANDOM, facts.num_rows)))
    candidates = [each for column in facts.columns.values() if (each := _rarest(column)) is not None]
    rare: dict[int, str] = {}
    for _, row, why in sorted(candidates, key=lambda each: -each[0]):
        if row not in rare and len(rare) < _NUM_RARE:
            rare[row] = why
    return [_example(facts, row, "") for row in drawn] + [_example(facts, row, why) for row, why in rare.items()]


def _rarest(column: ColumnFacts) -> tuple[float, int, str] | None:
    """Return how rare the column's rarest value is, its row, and a description; None if no value is rare."""
    if column.numbers is not None:
        return _farthest(column, column.numbers)
    return _least_frequent(column) if column.kind in ("categories", "truth") and column.num_distinct > 1 else None


def _farthest(column: ColumnFacts, numbers: Floats) -> tuple[float, int, str] | None:
    finite = np.abs(numbers) < LARGEST
    if finite.sum() < _FEWEST_NUMBERS:
        return None
    q1, median, q3 = np.quantile(numbers[finite], [0.25, 0.5, 0.75])
    spread = float(q3 - q1) or np.inf
    distance = np.where(finite, np.abs(np.where(finite, numbers, median) - median) / spread, 0.0)
    row = int(distance.argmax())
    side = "above" if numbers[row] > median else "below"
    why = f"{column.name} = {numbers[row]:g}, {distance[row]:.1f} interquartile ranges {side} the median"
    return (float(distance[row]) / _FAR, row, why) if distance[row] >= _FAR else None


def _least_frequent(column: ColumnFacts) -> tuple[float, int, str] | None:
    counts = np.bincount(column.codes[column.present])
    counts_of_rows = np.where(column.present, counts[np.maximum(column.codes, 0)], len(column.codes) + 1)
    row = int(counts_of_rows.argmin())
    count = int(counts_of_rows[row])
    why = f"{column.name} = {_shown(column.values[row])!r}, in {count:,} of {len(column.codes):,} rows"
    # A column in which almost every value is rare makes no row special.
    strength = math.log10(len(column.codes) / count) / column.num_distinct**0.5
    return (strength, row, why) if count <= _RARE_SHARE * len(column.codes) else None


def _example(facts: TableFacts, row: int, why: str) -> Example:
    names = list(facts.columns)[:_MAX_COLUMNS]
    values = {name: _shown(facts.columns[name].values[row]) for name in names}
    if facts.target is not None:
        values = {facts.target.name: _shown(facts.target.values[row]), **values}
    return Example(index=facts.sample.indices[row], values=values, why=why)


def _shown(value: object) -> str:
    if value is None:
        return ""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _MAX_LENGTH else f"{text[: _MAX_LENGTH - 1]}…"
