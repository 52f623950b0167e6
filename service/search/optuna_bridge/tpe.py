"""TPE with Optuna's Parzen estimators on arrays; good and bad trials are split by Optuna's rules.

Optuna's own sampler walks all trials several times per suggestion and evaluates every bad trial's kernel for each
candidate. Here the trials are arrays, and in a long history only the kernels near a candidate are evaluated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator, _ParzenEstimatorParameters
from optuna.samplers._tpe.probability_distributions import (
    _BatchedCategoricalDistributions,
    _BatchedDistributions,
    _MixtureOfProductDistribution,
)
from optuna.samplers._tpe.sampler import (
    _split_complete_trials_multi_objective,
    default_gamma,
    default_gamma_multiobjective,
    default_weights,
)
from optuna.study import StudyDirection

from service.contract.base import Directions, Value
from service.contract.space import Space
from service.domain.space import is_active, topological_order
from service.search.observations import ObservationKind
from service.search.optuna_bridge.distributions import distribution
from service.search.space.transform import from_unit, value_at
from service.search.trial_matrix import Floats, TrialMatrix

NUM_CANDIDATES = 24
"""Number of candidates drawn from the density of the good trials; the best one is taken. Optuna's default."""

MAX_KERNELS = 500
"""Largest number of kernels of the bad trials' density that are evaluated.

With up to this many kernels, the suggestion equals Optuna's own to the last bit.
"""

_REACH = 16.0
"""A kernel is near a candidate if its weighted density there is above e^-16 of the largest one.

Even ten thousand kernels below this limit are negligible.
"""

_SUREST = 8
"""Number of largest kernels per candidate that are always evaluated, however many kernels are near others."""

_PARZEN = _ParzenEstimatorParameters(
    prior_weight=1.0, consider_magic_clip=True, consider_endpoints=False, weights=default_weights, multivariate=True
)

Distributions = dict[str, BaseDistribution]


@dataclass(frozen=True, slots=True)
class TpeSuggestion:
    """A suggested configuration, and the numbers of trials behind the model."""

    parameters: dict[str, Value]
    num_learned: int
    """Number of observations that the model learned from, good and bad."""
    num_good: int
    num_open: int
    """Number of open trials that the model counted as bad."""


def suggest_tpe(
    space: Space, directions: Directions, columns: TrialMatrix, seed: int, fixed: Mapping[str, Value] | None = None
) -> TpeSuggestion:
    """Suggest one configuration of `space` by TPE (Bergstra et al. 2011; multivariate as in Falkner et al. 2018).

    Open trials count as bad (constant liar), infeasible ones as the worst, and pruned ones as worse than completed
    ones. In a multi-objective study, the good trials are those of the lowest non-domination ranks (Ozaki et al. 2022).
    Parameters with the same condition are modelled jointly, from the trials in which all of them are active.

    Args:
        space: a checked space.
        directions: direction of each objective.
        columns: the trials as arrays.
        seed: seed of the draws.
        fixed: values of parameters that are already decided.
    """
    rng = np.random.RandomState(seed)
    good, bad = _divided(columns, directions)
    values: dict[str, Value] = dict(fixed or {})
    for group in _groups(space):
        request = {name: distribution(space[name]) for name in group if name not in values}
        request = {name: each for name, each in request.items() if is_active(space[name], values)}
        values |= {name: from_unit(space[name], 0.0) for name, each in request.items() if each.single()}
        drawn = _draw(columns, good, bad, {name: each for name, each in request.items() if not each.single()}, rng)
        values |= {name: value_at(space[name], number) for name, number in drawn.items()}
    num_open = int((columns.roles == ObservationKind.OPEN).sum())
    num_good, num_learned = len(good), len(good) + len(bad) - num_open
    return TpeSuggestion(values, num_learned, num_good, num_open)


def _divided(columns: TrialMatrix, directions: Directions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split the trials into good and bad ones; return their row indices, ascending.

    Completed trials are better than pruned ones, and those better than infeasible ones. Completed trials are ordered by
    value or, in a multi-objective study, by non-domination rank; pruned ones by the step they reached and their value
    there; infeasible ones by number.
    """
    is_observed = columns.roles <= ObservationKind.INFEASIBLE
    gamma = default_gamma if len(directions) == 1 else default_gamma_multiobjective
    num_good = gamma(int(is_observed.sum()))
    points = columns.values * [-1.0 if direction == "maximize" else 1.0 for direction in directions]
    completed = np.flatnonzero(columns.roles == ObservationKind.COMPLETED)
    if len(directions) > 1 and num_good < len(completed):
        good = completed[_outer(points[completed], num_good)]
    else:
        good = _best(columns, points[:, 0], num_good)
    bad = is_observed | (columns.roles == ObservationKind.OPEN)
    bad[good] = False
    return good, np.flatnonzero(bad)


def _outer(points: Floats, num: int) -> NDArray[np.int64]:
    """Select `num` points by non-domination rank as Optuna does, and by hypervolume within the last rank.

    Returns their row indices.
    """
    # Optuna reads only the values of the trials and the directions of the study.
    minimized: Any = SimpleNamespace(directions=[StudyDirection.MINIMIZE] * points.shape[1])
    trials: list[Any] = [SimpleNamespace(at=at, values=values) for at, values in enumerate(points.tolist())]
    outer: list[Any] = _split_complete_trials_multi_objective(trials, minimized, num)[0]
    return np.array([point.at for point in outer], np.int64)


def _best(columns: TrialMatrix, losses: Floats, num_good: int) -> NDArray[np.int64]:
    """Return the row indices of the `num_good` best observations, ascending."""
    losses = np.where(np.isnan(losses), np.inf, losses)
    is_observed = columns.roles <= ObservationKind.INFEASIBLE
    eligible = np.flatnonzero(is_observed)
    completed = np.flatnonzero(columns.roles == ObservationKind.COMPLETED)
    if 0 < num_good <= len(completed):
        # Sorting all trials of a long history would cost more than the models.
        worst_good = np.partition(losses[completed], num_good - 1)[num_good - 1]
        eligible = completed[losses[completed] <= worst_good]
    best_first = eligible[np.lexsort((losses[eligible], -columns.steps[eligible], columns.roles[eligible]))]
    return np.sort(best_first[:num_good])


def _draw(
    columns: TrialMatrix,
    good: NDArray[np.int64],
    bad: NDArray[np.int64],
    request: Distributions,
    rng: np.random.RandomState,
) -> dict[str, float]:
    """Draw candidates from the density of the good trials; return the one with the best ratio to the bad density."""
    if not request:
        return {}
    coordinates = columns.columns(list(request))
    near_good = _with_all(coordinates[good])
    # In a multi-objective study all good trials have the same weight, however old they are.
    weights = np.ones(len(near_good)) if columns.values.shape[1] > 1 else None
    dense = _estimator(near_good, request, weights)
    rare = _estimator(_with_all(coordinates[bad]), request)
    candidates = dense.sample(rng, NUM_CANDIDATES)
    drawn = np.column_stack([candidates[name] for name in request])
    near = _near(rare._mixture_distribution, drawn)  # noqa: SLF001 - the kernels have no public name
    best = np.argmax(dense.log_pdf(candidates) - near.log_pdf(drawn))
    return dict(zip(request, drawn[best].tolist(), strict=True))


def _estimator(coordinates: Floats, request: Distributions, weights: Floats | None = None) -> _ParzenEstimator:
    return _ParzenEstimator(dict(zip(request, coordinates.T, strict=True)), request, _PARZEN, weights)


def _with_all(coordinates: Floats) -> Floats:
    """Return the rows of trials in which all parameters are active and have values of this space."""
    return coordinates[np.isfinite(coordinates).all(axis=1)]


def _near(mixture: _MixtureOfProductDistribution, drawn: Floats) -> _MixtureOfProductDistribution:
    """Return the mixture reduced to the kernels near a candidate, because the others are negligible there.

    A mixture of up to `MAX_KERNELS` kernels is returned unchanged.
    """
    if len(mixture.weights) <= MAX_KERNELS:
        return mixture
    weight = np.tile(np.log(mixture.weights), (len(drawn), 1))
    for at, each in enumerate(mixture.distributions):
        if isinstance(each, _BatchedCategoricalDistributions):
            weight += np.log(each.weights.T)[drawn[:, at].astype(int)]
        else:
            numbers = np.log(drawn[:, at]) if each.is_log else drawn[:, at]
            away = np.subtract.outer(numbers, each.mu)
            away /= each.sigma
            away *= away
            away *= 0.5
            weight -= away
            weight -= np.log(each.sigma)
    below_best = weight - weight.max(axis=1, keepdims=True)
    surest = np.unique(np.argpartition(-weight, _SUREST, axis=1)[:, :_SUREST])
    near = np.setdiff1d(np.flatnonzero(below_best.max(axis=0) > -_REACH), surest)
    num = min(len(near), MAX_KERNELS - len(surest))
    # If too many kernels are near a candidate, take evenly spaced ones, which also represent their neighbours in time.
    sample = near[np.linspace(0, len(near) - 1, num).astype(int)] if num else near
    rows = np.concatenate([surest, sample])
    weights = mixture.weights[rows]
    weights[len(surest) :] *= len(near) / max(num, 1)
    return _MixtureOfProductDistribution(weights, [_kept(each, rows) for each in mixture.distributions])


def _kept(each: _BatchedDistributions, rows: NDArray[np.int64]) -> _BatchedDistributions:
    if isinstance(each, _BatchedCategoricalDistributions):
        return each._replace(weights=each.weights[rows])
    return each._replace(mu=each.mu[rows], sigma=each.sigma[rows])


def _groups(space: Space) -> list[list[str]]:
    """Group the parameter names by condition; groups and names are in topological order."""
    groups: dict[frozenset[tuple[str, str]], list[str]] = {}
    for name in topological_order(space):
        condition = frozenset((named, repr(value)) for named, value in (space[name].when or {}).items())
        groups.setdefault(condition, []).append(name)
    return list(groups.values())
