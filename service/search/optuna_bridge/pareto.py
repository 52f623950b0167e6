"""Non-domination ranks and hypervolume, computed by Optuna; importing this module loads NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from optuna._hypervolume import compute_hypervolume
from optuna.study._multi_objective import _fast_non_domination_rank

from service.contract.base import Directions
from service.domain.pareto import LossVector
from service.search.observations import ObservationKind
from service.search.trial_matrix import Floats, TrialMatrix


def hypervolume(points: Sequence[LossVector], corner: LossVector) -> float:
    """Compute the hypervolume that the points dominate up to `corner` (Zitzler & Thiele 1999).

    A sweep computes it in 2 and 3 dimensions, and the algorithm of While et al. 2012 in more.

    Args:
        points: loss vectors; smaller is better in every dimension.
        corner: the reference point. A point that is not below it in every dimension adds nothing.

    Returns:
        The volume; not finite if it is too large for a float.
    """
    below = [point for point in points if all(mine < most for mine, most in zip(point, corner, strict=True))]
    if not below:
        return 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        return float(compute_hypervolume(np.array(below), np.array(corner)))


def loss_rank(columns: TrialMatrix, directions: Directions) -> Floats:
    """Rank trials by loss: the loss itself, or in a multi-objective study the non-domination rank (0 is the front).

    In a multi-objective study only completed trials have a rank; all others get 0. In a single-objective study NaN
    becomes infinity.

    Returns:
        Shape (trials,); smaller is better.
    """
    points = columns.values * [-1.0 if direction == "maximize" else 1.0 for direction in directions]
    if len(directions) == 1:
        return np.where(np.isnan(points[:, 0]), np.inf, points[:, 0])
    completed = columns.roles == ObservationKind.COMPLETED
    found = np.zeros(len(points))
    found[completed] = _fast_non_domination_rank(points[completed])
    return found
