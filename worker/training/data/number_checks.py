"""Numbers that no training can compute with, refused by the name of their column and their place in the file."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from worker.training.data.column_texts import MAX_NUMBER, drowned, outlying, unusable
from worker.training.errors import ConfigError

Place: TypeAlias = Callable[[int], str]
"""Says where in a file the row with this index is."""

_SUSPICIOUS = 1e6
"""How many times as far from the median as usual a number must be before it may drown the others."""


def in_row(index: int) -> str:
    """Say the place of a row of a CSV file, as people count rows."""
    return f"in row {index + 1:,} (not counting the header)"


def at_index(index: int) -> str:
    """Say the place of a row of a Parquet file."""
    return f"at index {index}"


def require_usable(where: str, what: str, values: NDArray[np.float64], place: Place) -> None:
    """Refuse numbers [n] that are infinite in 32 bits, or beside which all others become alike; NaN is missing."""
    if (wrong := _first(np.abs(values) > MAX_NUMBER)) is not None:
        raise ConfigError(where, unusable(what, float(values[wrong]), place(wrong)))
    known = np.flatnonzero(~np.isnan(values))
    if len(known) and _is_suspicious(values[known]) and (index := drowned(values[known].tolist())) is not None:
        row = int(known[index])
        raise ConfigError(where, outlying(what, float(values[row]), place(row)))


def require_finite(where: str, what: str, values: NDArray[Any]) -> None:
    """Refuse an array of any shape with a number that is missing or infinite in 32 bits."""
    if values.dtype.kind != "f":
        return
    if (wrong := _first(~(np.abs(values.reshape(-1)) <= MAX_NUMBER))) is not None:
        index = np.unravel_index(wrong, values.shape)
        at = f"at [{', '.join(str(each) for each in index)}]"
        raise ConfigError(where, unusable(what, float(values[index]), at))


def _first(wrong: NDArray[np.bool_]) -> int | None:
    return int(wrong.argmax()) if wrong.any() else None


def _is_suspicious(values: NDArray[np.float64]) -> bool:
    """A quick look that spares usual columns the exact one."""
    distances = np.abs(values - np.median(values))
    usual = np.partition(distances, int(0.9 * (len(distances) - 1)))[int(0.9 * (len(distances) - 1))]
    return bool(usual > 0 and distances.max() > _SUSPICIOUS * usual)
