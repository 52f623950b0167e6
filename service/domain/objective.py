"""How a trial's final value is taken from its series."""

from __future__ import annotations

import math

from service.contract.study import MeanOfLast, Objective
from service.domain.history import Series


def final_value(objective: Objective, series: Series) -> float | None:
    """The objective's value of a canonical series of its metric: last, best, or mean of the last k.

    Returns None for an empty series, and for `best` where no value is finite; `last` and the mean are NaN or
    infinite where the values they rest on are.
    """
    if not series:
        return None
    if isinstance(objective.value, MeanOfLast):
        last = [value for _, value in series[-objective.value.mean_of_last :]]
        return sum(last) / len(last)
    if objective.value == "last":
        return series[-1][1]
    finite = [value for _, value in series if math.isfinite(value)]
    if not finite:
        return None
    return max(finite) if objective.direction == "maximize" else min(finite)


def is_better(objective: Objective, value: float, other: float) -> bool:
    """Whether `value` beats `other` in the objective's direction."""
    return value > other if objective.direction == "maximize" else value < other
