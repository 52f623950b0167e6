"""Features with one value in all training examples, from which nothing can be learnt: one line that names them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_NUM_NAMED = 10


def constant_note(names: Sequence[str]) -> tuple[str, ...]:
    """Return one line that names the first ten of the constant features, or none if there are none."""
    if not names:
        return ()
    more = f" and {len(names) - _NUM_NAMED:,} more" if len(names) > _NUM_NAMED else ""
    what = "1 feature has" if len(names) == 1 else f"{len(names):,} features have"
    named = ", ".join(names[:_NUM_NAMED])
    return (f"warning: {what} one value in all training examples, so there is nothing to learn from: {named}{more}",)


def is_constant(values: NDArray[np.float64], *, missing_counts: bool) -> bool:
    """Return whether a column [n] of training examples has at most one value.

    Args:
        values: NaN where a value is missing.
        missing_counts: whether a missing value differs from the others for a model.
    """
    missing = np.isnan(values)
    known = values[~missing]
    if missing_counts and 0 < len(known) < len(values):
        return False
    return not len(known) or bool((known == known[0]).all())
