"""A regression of the rank of a trial on all its parameters at once, as a sum of one curve per parameter.

A sampler changes several parameters together, so the trials of one value also differ in the others. The regression
separates their effects.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.analysis.diagnosis.study_results import Floats
from service.contract.base import Value
from service.contract.space import CategoricalParameter, ConstantParameter, NumericParameter, Parameter, Space
from service.domain.history import TrialRecord

_MAX_LEVELS = 12
"""The largest number of choices that get an effect of their own; the rarer ones share one."""

_ROWS_PER_COLUMN = 4
"""Smallest number of trials per estimated number."""

_RIDGE = 1e-6
"""Share of the diagonal that is added to it, so that parameters that always change together can be solved for."""


@dataclass(frozen=True, slots=True)
class AdditiveFit:
    """The fitted curves.

    Attributes:
        columns: parameter -> the columns of its curve: a slope and a curvature, or one level per choice.
        coefficients: shape (columns,).
        covariance: shape (columns, columns): that of the coefficients.
        explained: the share of the variance that the parameters explain, adjusted for their number.
        f_statistic: explained by unexplained variance per degree of freedom; about 1 if no parameter has an effect.
        num_columns: the number of estimated numbers, without the mean.
        num_trials: the number of trials.
    """

    columns: Mapping[str, slice]
    coefficients: Floats
    covariance: Floats
    explained: float
    f_statistic: float
    num_columns: int
    num_trials: int

    def contrast(self, name: str, difference: Floats) -> tuple[float, float]:
        """Return the fitted difference between two values of a parameter and its standard error, as shares of ranks.

        Args:
            name: the parameter.
            difference: shape (columns of the parameter,): the second value's features less the first one's.
        """
        place = self.columns[name]
        estimate = float(difference @ self.coefficients[place])
        variance = float(difference @ self.covariance[place, place] @ difference)
        return estimate, math.sqrt(max(0.0, variance))

    def slope_at(self, name: str, position: float) -> tuple[float, float]:
        """Return the slope of a numeric parameter's curve at a position on its scale, and its standard error."""
        width = self.columns[name].stop - self.columns[name].start
        return self.contrast(name, np.array([1.0, 2 * (position - 0.5)][:width]))


def positions(parameter: NumericParameter, values: Sequence[Value | None]) -> Floats:
    """Return the place of each number on the parameter's range, from 0 to 1 on its scale.

    It is NaN for a value that is missing, not a number, or outside the range. Zero of a log range is at its lower end.
    """
    low, high = float(parameter.low), float(parameter.high)
    numbers = np.array(
        [value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan for value in values],
        dtype=float,
    )
    if parameter.log:
        numbers = np.where(numbers == 0, low, numbers)
    margin = 1e-9 * (high - low)
    numbers = np.where((numbers >= low - margin) & (numbers <= high + margin), np.clip(numbers, low, high), math.nan)
    if parameter.log:
        return np.log(numbers / low) / math.log(high / low)
    return (numbers - low) / (high - low)


def level(value: Value) -> str:
    """Return a text that is equal for equal choices."""
    return repr(value)


def fit_additive(space: Space, trials: Sequence[TrialRecord], ranks: Floats) -> AdditiveFit | None:
    """Fit the ranks of trials by the sum of a curve per parameter, on all parameters at once.

    With few trials the curves are straight lines.

    Args:
        space: the space; constants are left out.
        trials: at least one trial.
        ranks: shape (trials,): the rank of each, from 0 (best) to 1.

    Returns:
        None if there are too few trials for the number of parameters, or all ranks are equal.
    """
    names = [name for name in sorted(space) if not isinstance(space[name], ConstantParameter)]
    most = len(trials) // _ROWS_PER_COLUMN
    configurations = [trial.parameters for trial in trials]
    for degree in (2, 1):
        columns, places = features(space, names, configurations, degree)
        if columns.shape[1] and columns.shape[1] <= most:
            return _solve(columns, places, ranks)
    return None


def features(
    space: Space, names: Sequence[str], configurations: Sequence[Mapping[str, Value]], degree: int
) -> tuple[Floats, dict[str, slice]]:
    """Return the columns of a regression on the parameters: powers of a number's position, and levels of a choice."""
    columns: list[Floats] = []
    places: dict[str, slice] = {}
    for name in names:
        values = [each.get(name) for each in configurations]
        made = _features_of(space[name], values, degree)
        if made:
            places[name] = slice(len(columns), len(columns) + len(made))
            columns += made
    return np.column_stack(columns) if columns else np.empty((len(configurations), 0)), places


def _features_of(parameter: Parameter, values: Sequence[Any], degree: int) -> list[Floats]:
    """Return the columns of one parameter. A value that is missing or foreign is 0 in all of them."""
    if isinstance(parameter, NumericParameter):
        places = positions(parameter, values)
        known = np.isfinite(places)
        centred = np.where(known, places - 0.5, 0.0)
        if len(np.unique(centred[known])) <= degree:  # Two values determine no curvature.
            degree = 1
        return [centred**power for power in range(1, degree + 1)] if len(centred) and np.ptp(centred) else []
    assert isinstance(parameter, CategoricalParameter)
    texts = [None if value is None else level(value) for value in values]
    # Ordered by frequency, then by text, so that the order of the choices does not matter.
    counts = Counter(text for text in texts if text is not None)
    kept = sorted(counts, key=lambda text: (-counts[text], text))[:_MAX_LEVELS]
    # The most frequent level is the reference, whose effect is 0.
    return [np.array([float(text == each) for text in texts]) for each in kept[1:]]


def _solve(columns: Floats, places: dict[str, slice], ranks: Floats) -> AdditiveFit | None:
    num, width = columns.shape
    centred, target = columns - columns.mean(axis=0), ranks - ranks.mean()
    total = float(target @ target)
    if total <= 0:
        return None
    gram = centred.T @ centred
    scale = np.maximum(np.diag(gram), 1e-12)
    inverse = np.linalg.inv(gram + np.diag(_RIDGE * scale))
    coefficients = inverse @ (centred.T @ target)
    residual = target - centred @ coefficients
    freedom = num - width - 1
    rest = max(float(residual @ residual), 1e-12 * total)
    return AdditiveFit(
        columns=places,
        coefficients=coefficients,
        covariance=inverse * (rest / freedom),
        explained=1 - (rest / freedom) / (total / (num - 1)),
        f_statistic=((total - rest) / width) / (rest / freedom),
        num_columns=width,
        num_trials=num,
    )
