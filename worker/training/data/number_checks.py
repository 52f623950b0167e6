"""Rejects numbers that training can't compute with, and names their column and their place in the file."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from worker.training.data.column_texts import MAX_NUMBER, find_outlier, outlier_message, unusable_number_message
from worker.training.errors import ConfigError

DescribeRow: TypeAlias = Callable[[int], str]
"""Returns, in words, where in a file the row with this index is."""

_SUSPICIOUS = 1e6
"""A distance from the median of this many times the usual distance triggers the exact check for outliers."""


def in_row(index: int) -> str:
    """Return the place of a row of a CSV file in words, counted from 1."""
    return f"in row {index + 1:,} (not counting the header)"


def at_index(index: int) -> str:
    """Return the place of a row of a Parquet file or an array in words, counted from 0."""
    return f"at index {index}"


def require_usable(where: str, what: str, values: NDArray[np.float64], describe_row: DescribeRow) -> None:
    """Check that numbers [n] are finite as float32, and that no outlier makes all others equal once standardised.

    NaN is a missing value and allowed.

    Args:
        where: the setting named in errors.
        what: the column in words, for errors.
        values: the numbers, [n].
        describe_row: returns in words where a row is.

    Raises:
        ConfigError: at `where`.
    """
    if (first := _first(np.abs(values) > MAX_NUMBER)) is not None:
        raise ConfigError(where, unusable_number_message(what, float(values[first]), describe_row(first)))
    present = np.flatnonzero(~np.isnan(values))
    if (
        len(present)
        and _is_suspicious(values[present])
        and (index := find_outlier(values[present].tolist())) is not None
    ):
        row = int(present[index])
        raise ConfigError(where, outlier_message(what, float(values[row]), describe_row(row)))


def require_finite(where: str, what: str, values: NDArray[Any]) -> None:
    """Raise ConfigError at `where` if an array of any shape has a number that is NaN or not finite as float32."""
    if values.dtype.kind != "f":
        return
    if (first := _first(~(np.abs(values.reshape(-1)) <= MAX_NUMBER))) is not None:
        index = np.unravel_index(first, values.shape)
        position = f"at [{', '.join(str(each) for each in index)}]"
        raise ConfigError(where, unusable_number_message(what, float(values[index]), position))


def _first(is_wrong: NDArray[np.bool_]) -> int | None:
    return int(is_wrong.argmax()) if is_wrong.any() else None


def _is_suspicious(values: NDArray[np.float64]) -> bool:
    """Return whether the exact check for outliers is needed; this fast test spares most columns from it."""
    distances = np.abs(values - np.median(values))
    usual = np.partition(distances, int(0.9 * (len(distances) - 1)))[int(0.9 * (len(distances) - 1))]
    return bool(usual > 0 and distances.max() > _SUSPICIOUS * usual)
