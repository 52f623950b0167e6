"""Finds columns that hold the same information: equal up to their names, their units or their codes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from service.cli.look.statistics import Codes, Floats, codes_of, is_constant

MIN_CORRELATION = 0.9995
_MOST_ROWS, _MOST_COLUMNS = 2_000, 1_000


def equal_codes(columns: Mapping[str, Codes]) -> list[tuple[str, str]]:
    """Return pairs of columns whose values correspond one to one in every row, each with the first column like it.

    Args:
        columns: name -> codes [n]. Constant columns and columns of different values only are not compared.
    """
    first: dict[bytes, str] = {}
    pairs = []
    for name, codes in columns.items():
        num_distinct = len(np.unique(codes))
        if not 1 < num_distinct <= len(codes) / 2:
            continue
        key = codes_of(codes.tolist()).tobytes()
        if first.setdefault(key, name) != name:
            pairs.append((first[key], name))
    return pairs


def linear_copies(columns: Mapping[str, Floats], seed: int) -> list[tuple[str, str, float]]:
    """Return pairs of number columns with a Pearson correlation beyond MIN_CORRELATION, and the correlation.

    Each column is named once, with the first column like it. Rows with a missing value count as their column's mean.

    Args:
        columns: name -> numbers [n], NaN where one is missing. At most the first thousand are compared.
        seed: decides the rows that are compared, if there are more than two thousand.
    """
    names = list(columns)[:_MOST_COLUMNS]
    if len(names) < 2:
        return []
    num_rows = len(columns[names[0]])
    rows = np.sort(np.random.default_rng(seed).permutation(num_rows)[:_MOST_ROWS])
    scaled, usable = [], []
    for name in names:
        values = columns[name][rows]
        present = np.isfinite(values)
        if present.sum() < max(10, len(rows) / 2) or is_constant(values[present]):
            continue
        values = np.where(present, values, values[present].mean())
        values = values / np.abs(values).max()
        values = values - values.mean()
        norm = float(np.sqrt((values * values).sum()))
        if norm > 0:
            scaled.append(values / norm)
            usable.append(name)
    if len(usable) < 2:
        return []
    matrix = np.stack(scaled)
    correlation = matrix @ matrix.T
    pairs = []
    for second in range(1, len(usable)):
        before = np.abs(correlation[second, :second])
        first = int(before.argmax())
        if before[first] >= MIN_CORRELATION:
            pairs.append((usable[first], usable[second], float(correlation[second, first])))
    return pairs
