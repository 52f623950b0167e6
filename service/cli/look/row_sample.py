"""Keeps a random sample of a table's rows in bounded memory, and counts rows, missing values and repeated rows."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from service.cli.data_columns import Column
from service.cli.data_files import RowFile

MAX_ROWS, MAX_CELLS = 50_000, 2_000_000
"""The largest sample. A table with many columns has fewer rows in its sample."""

MAX_CELLS_READ = 100_000_000
"""The largest part of a file that is read: about a minute or two."""

_MAX_HASHES = 1 << 20
_ROWS_PER_NOTICE = 5_000


@dataclass(frozen=True)
class RowSample:
    """A sample of a table, and counts over all rows that were read."""

    columns: dict[str, Column]
    indices: list[int]
    """The row of each sampled example, ascending."""
    num_rows: int
    num_missing: dict[str, int]
    num_distinct: int
    is_distinct_exact: bool
    read_share: float
    """The share of the file that was read. Below 1: the file was too large."""


def sample_rows(
    file: RowFile,
    seed: int,
    notice: Callable[[float], None],
    *,
    max_rows: int = MAX_ROWS,
    max_cells_read: int = MAX_CELLS_READ,
) -> RowSample:
    """Read a table row by row and keep a uniform sample of its rows.

    Args:
        file: the open table.
        seed: decides the sample.
        notice: is called with the share that has been read.
        max_rows: the size of the sample; larger tables are sampled.
        max_cells_read: stop after so many values.
    """
    width = max(1, len(file.names))
    capacity = max(1, min(max_rows, MAX_CELLS // width))
    chance = random.Random(seed)  # noqa: S311 - a sample, no secret
    rows: list[list[Any]] = []
    indices: list[int] = []
    missing = [0] * len(file.names)
    distinct = DistinctCounter()
    num_rows, read_share = 0, 1.0
    for row in file.rows:
        if len(rows) < capacity:
            rows.append(row)
            indices.append(num_rows)
        elif (place := int(chance.random() * (num_rows + 1))) < capacity:
            rows[place], indices[place] = row, num_rows
        if None in row:
            for position, value in enumerate(row):
                missing[position] += value is None
        distinct.add(row)
        num_rows += 1
        if num_rows % _ROWS_PER_NOTICE == 0:
            notice(file.progress())
        if num_rows * width >= max_cells_read:
            read_share = min(1.0, file.progress()) if _has_more(file.rows) else 1.0
            break
    notice(1.0)
    order = sorted(range(len(rows)), key=indices.__getitem__)
    columns: dict[str, Column] = {
        name: [rows[place][position] for place in order] for position, name in enumerate(file.names)
    }
    return RowSample(
        columns,
        sorted(indices),
        num_rows,
        dict(zip(file.names, missing, strict=True)),
        min(num_rows, distinct.count),
        distinct.is_exact,
        read_share,
    )


def _has_more(rows: Iterator[list[Any]]) -> bool:
    return next(rows, None) is not None


class DistinctCounter:
    """Counts different rows: exactly up to a million, then an estimate from the hashes of a fixed share of them."""

    def __init__(self, max_hashes: int = _MAX_HASHES) -> None:
        self._max_hashes = max_hashes
        self._hashes: set[int] = set()
        self._one_in = 1

    def add(self, row: list[Any]) -> None:
        """Count a row."""
        hashed = int.from_bytes(blake2b(repr(row).encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
        if hashed % self._one_in == 0:
            self._hashes.add(hashed)
            if len(self._hashes) > self._max_hashes:
                self._one_in *= 2
                self._hashes = {each for each in self._hashes if each % self._one_in == 0}

    @property
    def is_exact(self) -> bool:
        """Whether no row was left out."""
        return self._one_in == 1

    @property
    def count(self) -> int:
        """The number of different rows."""
        return len(self._hashes) * self._one_in
