"""PED-ANOVA with Optuna's densities: compares a parameter's values in the best trials with those in all trials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial

from service.contract.space import Space
from service.search.optuna_bridge.distributions import distribution
from service.search.trial_matrix import Floats, TrialMatrix

_FEWEST = 2
"""Smallest number of trials with an active parameter for which a density is estimated."""


@dataclass(frozen=True, slots=True)
class _Tried:
    """The part of an Optuna trial that the estimator reads."""

    params: dict[str, float]


def divergences(
    space: Space, columns: TrialMatrix, is_observed: NDArray[np.bool_], best: NDArray[np.bool_]
) -> dict[str, float]:
    """Compute each parameter's Pearson divergence between the best trials and all (Watanabe, Bansal and Hutter 2023).

    The divergence of a conditional parameter uses only the trials in which it is active. It is weighted by the squared
    share of these among the best trials, divided by their share among all (condPED-ANOVA, arXiv 2601.20800).

    Args:
        space: a checked space.
        columns: the trials as arrays.
        is_observed: shape (trials,): which trials are observations.
        best: shape (trials,): which observations count as the best.

    Returns:
        Parameter -> divergence; parameters with a single value are left out.
    """
    evaluator = PedAnovaImportanceEvaluator()
    found: dict[str, float] = {}
    for name, values in zip(columns.names, columns.coordinates.T, strict=True):
        domain = distribution(space[name])
        if domain.single():
            continue
        had = is_observed & np.isfinite(values)
        had_best = had & best
        found[name] = 0.0
        if had.sum() >= _FEWEST and had_best.any():
            weight = (had_best.sum() / best.sum()) ** 2 / (had.sum() / is_observed.sum())
            found[name] = float(weight) * evaluator._compute_pearson_divergence(  # noqa: SLF001 - it has no public name
                name, domain, _tried(name, values[had_best]), _tried(name, values[had])
            )
    return found


def _tried(name: str, values: Floats) -> list[FrozenTrial]:
    return cast("list[FrozenTrial]", [_Tried({name: value}) for value in values.tolist()])
