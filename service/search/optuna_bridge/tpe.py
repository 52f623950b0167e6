"""TPE: Optuna's Parzen estimators over good and bad trials, told apart by Optuna's rules but from arrays.

Optuna's own sampler walks all trials several times per question and weighs every bad one for each candidate. Here the
trials are columns, and of a long history only those kernels are weighed that reach a candidate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator, _ParzenEstimatorParameters
from optuna.samplers._tpe.probability_distributions import (
    _BatchedCategoricalDistributions,
    _BatchedDistributions,
    _MixtureOfProductDistribution,
)
from optuna.samplers._tpe.sampler import default_gamma, default_weights

from service.contract.base import Direction, Value
from service.contract.space import Space
from service.domain.space import is_active, ordered
from service.search.columns import Columns, Floats
from service.search.coordinates import value_at
from service.search.lessons import Role
from service.search.optuna_bridge.distributions import distribution
from service.search.scale import from_unit

NUM_CANDIDATES = 24
"""Configurations drawn from the good trials' density, of which the best is taken; Optuna's default."""

MOST_KERNELS = 500
"""Kernels of the bad trials' density that are weighed; up to so many, the answer is Optuna's own to the last bit."""

_REACH = 16.0
"""A kernel reaches a candidate if it weighs more than e^-16 of the heaviest there; ten thousand below add nothing."""

_SUREST = 8
"""The heaviest kernels of each candidate, which are weighed however crowded it is elsewhere."""

_PARZEN = _ParzenEstimatorParameters(
    prior_weight=1.0, consider_magic_clip=True, consider_endpoints=False, weights=default_weights, multivariate=True
)

Distributions = dict[str, BaseDistribution]


@dataclass(frozen=True, slots=True)
class TpeAnswer:
    """A configuration, and what the model that chose it was made of."""

    parameters: dict[str, Value]
    num_learned: int
    num_good: int
    num_open: int


def suggest_tpe(
    space: Space, direction: Direction, columns: Columns, seed: int, fixed: Mapping[str, Value] | None = None
) -> TpeAnswer:
    """Ask TPE (Bergstra et al. 2011; multivariate as in Falkner et al. 2018) for one configuration of `space`.

    Open trials count as bad ones nearby (constant liar), infeasible ones as worst, pruned ones behind the completed.
    Parameters that exist under the same condition are modelled jointly, from the trials that had them all; `fixed` ones
    were decided elsewhere.
    """
    chance = np.random.RandomState(seed)
    good, bad = _divided(columns, direction)
    values: dict[str, Value] = dict(fixed or {})
    for group in _groups(space):
        asked = {name: distribution(space[name]) for name in group if name not in values}
        asked = {name: each for name, each in asked.items() if is_active(space[name], values)}
        values |= {name: from_unit(space[name], 0.0) for name, each in asked.items() if each.single()}
        drawn = _draw(columns, good, bad, {name: each for name, each in asked.items() if not each.single()}, chance)
        values |= {name: value_at(space[name], number) for name, number in drawn.items()}
    num_open = int((columns.roles == Role.OPEN).sum())
    num_good, num_learned = len(good), len(good) + len(bad) - num_open
    return TpeAnswer(values, num_learned, num_good, num_open)


def _divided(columns: Columns, direction: Direction) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which trials are good and which bad, each in the order of their numbers.

    The best come first: completed ones by value, pruned ones by the step they reached and their value there,
    infeasible ones by number.
    """
    lessons = columns.roles <= Role.INFEASIBLE
    num_good = default_gamma(int(lessons.sum()))
    losses = np.where(np.isnan(columns.values), np.inf, columns.values if direction == "minimize" else -columns.values)
    eligible = np.flatnonzero(lessons)
    completed = np.flatnonzero(columns.roles == Role.COMPLETED)
    if 0 < num_good <= len(completed):
        # Sorting all of a long history would cost more than the models.
        worst_good = np.partition(losses[completed], num_good - 1)[num_good - 1]
        eligible = completed[losses[completed] <= worst_good]
    best_first = eligible[np.lexsort((losses[eligible], -columns.steps[eligible], columns.roles[eligible]))]
    good = np.sort(best_first[:num_good])
    bad = lessons | (columns.roles == Role.OPEN)
    bad[good] = False
    return good, np.flatnonzero(bad)


def _draw(
    columns: Columns,
    good: NDArray[np.int64],
    bad: NDArray[np.int64],
    asked: Distributions,
    chance: np.random.RandomState,
) -> dict[str, float]:
    """The best of the candidates: drawn where good trials are dense, and bad ones are rare."""
    if not asked:
        return {}
    coordinates = columns.of(list(asked))
    dense = _estimator(_with_all(coordinates[good]), asked)
    rare = _estimator(_with_all(coordinates[bad]), asked)
    candidates = dense.sample(chance, NUM_CANDIDATES)
    drawn = np.column_stack([candidates[name] for name in asked])
    near = _near(rare._mixture_distribution, drawn)  # noqa: SLF001 - the kernels have no public name
    best = np.argmax(dense.log_pdf(candidates) - near.log_pdf(drawn))
    return dict(zip(asked, drawn[best].tolist(), strict=True))


def _estimator(coordinates: Floats, asked: Distributions) -> _ParzenEstimator:
    return _ParzenEstimator(dict(zip(asked, coordinates.T, strict=True)), asked, _PARZEN)


def _with_all(coordinates: Floats) -> Floats:
    """The trials that had every one of the parameters, with values of this space."""
    return coordinates[np.isfinite(coordinates).all(axis=1)]


def _near(mixture: _MixtureOfProductDistribution, drawn: Floats) -> _MixtureOfProductDistribution:
    """The kernels of a mixture that reach some candidate; the others would add nothing that counts there."""
    if len(mixture.weights) <= MOST_KERNELS:
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
    num = min(len(near), MOST_KERNELS - len(surest))
    # Where even those that reach a candidate are too many, evenly spaced ones stand for their neighbours in time too.
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
    """Names that exist together, groups and names in an order in which conditions are decided first."""
    groups: dict[frozenset[tuple[str, str]], list[str]] = {}
    for name in ordered(space):
        condition = frozenset((named, repr(value)) for named, value in (space[name].when or {}).items())
        groups.setdefault(condition, []).append(name)
    return list(groups.values())
