"""The hypervolume that points dominate, by Optuna's exact computation; loads numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from optuna._hypervolume import compute_hypervolume

from service.domain.front import Losses


def hypervolume(points: Sequence[Losses], corner: Losses) -> float:
    """The volume between `corner` and the points below it, overlaps counted once (Zitzler & Thiele 1999).

    Smaller is better in every dimension; a point that is not below the corner in each adds nothing. The algorithm is
    that of While et al. 2012, of 2 and 3 dimensions a sweep.
    """
    below = [point for point in points if all(mine < most for mine, most in zip(point, corner, strict=True))]
    if not below:
        return 0.0
    return float(compute_hypervolume(np.array(below), np.array(corner)))
