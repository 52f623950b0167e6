"""Fronts of many points at once, and the hypervolume that they dominate, as Optuna computes them; loads numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from optuna._hypervolume import compute_hypervolume
from optuna.study._multi_objective import _fast_non_domination_rank

from service.contract.base import Directions
from service.domain.front import Losses
from service.search.columns import Columns, Floats
from service.search.lessons import Role


def hypervolume(points: Sequence[Losses], corner: Losses) -> float:
    """The volume between `corner` and the points below it, overlaps counted once (Zitzler & Thiele 1999).

    It is not finite where it is too large for a float.
    Smaller is better in every dimension; a point that is not below the corner in each adds nothing. The algorithm is
    that of While et al. 2012, of 2 and 3 dimensions a sweep.
    """
    below = [point for point in points if all(mine < most for mine, most in zip(point, corner, strict=True))]
    if not below:
        return 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        return float(compute_hypervolume(np.array(below), np.array(corner)))


def badness(columns: Columns, directions: Directions) -> Floats:
    """How bad each trial's values are: the value, or of several objectives how many fronts lie before it.

    Of several objectives nothing is known of a trial that was not completed: its badness is 0.
    """
    points = columns.values * [-1.0 if direction == "maximize" else 1.0 for direction in directions]
    if len(directions) == 1:
        return np.where(np.isnan(points[:, 0]), np.inf, points[:, 0])
    completed = columns.roles == Role.COMPLETED
    found = np.zeros(len(points))
    found[completed] = _fast_non_domination_rank(points[completed])
    return found
