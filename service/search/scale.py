"""Each parameter on its own scale: from its values to the unit interval and back."""

from __future__ import annotations

import math
from collections.abc import Sequence

from service.contract.base import Value
from service.contract.space import CategoricalParameter, FloatParameter, IntParameter, Parameter
from service.domain.cells import axis
from service.domain.space import same


def from_unit(parameter: Parameter, unit: float) -> Value:
    """The value at `unit` in [0, 1]: each discrete value owns an interval (of equal width, unless log), log is log."""
    if not isinstance(parameter, CategoricalParameter) and parameter.log:
        low, high = _log_edges(parameter)
        value = math.exp(low + unit * (high - low))
        nearest = round(value) if isinstance(parameter, IntParameter) else value
        return min(max(nearest, parameter.low), parameter.high)
    values = axis(parameter)
    if values is not None:
        return values[min(int(unit * len(values)), len(values) - 1)]
    assert isinstance(parameter, FloatParameter)
    return min(max(parameter.low + unit * (parameter.high - parameter.low), parameter.low), parameter.high)


def to_unit(parameter: Parameter, value: Value) -> float:
    """Where a value of the parameter lies in [0, 1]; a discrete one at the middle of its interval."""
    if isinstance(parameter, CategoricalParameter):
        place = next(at for at, choice in enumerate(parameter.choices) if same(choice, value))
        return _middle(place, parameter.choices)
    assert isinstance(value, int | float)
    if parameter.log:
        low, high = _log_edges(parameter)
        return min(max((math.log(value) - low) / (high - low), 0.0), 1.0)
    values = axis(parameter)
    if values is not None:
        return _middle(round((value - parameter.low) / (parameter.step or 1)), values)
    return (value - parameter.low) / (parameter.high - parameter.low)


def _middle(index: int, values: Sequence[Value]) -> float:
    return (index + 0.5) / len(values)


def _log_edges(parameter: FloatParameter | IntParameter) -> tuple[float, float]:
    """The logarithms between which the scale runs; half a step wider for whole numbers, so that the ends count full."""
    margin = 0.5 if isinstance(parameter, IntParameter) else 0.0
    return math.log(parameter.low - margin), math.log(parameter.high + margin)
