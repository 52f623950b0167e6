"""Each parameter on its own scale: from its values to the unit interval and back, neighbours side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

from service.contract.base import Value
from service.contract.space import (
    CategoricalParameter,
    ConstantParameter,
    FloatParameter,
    IntParameter,
    NumericParameter,
    Parameter,
    Space,
)
from service.domain.parameter import axis, same


def from_unit(parameter: Parameter, unit: float) -> Value:
    """The value at `unit` in [0, 1]: each discrete value owns an interval (of equal width, unless log), log is log."""
    if isinstance(parameter, NumericParameter) and parameter.log:
        low, high = log_edges(parameter)
        value = math.exp(low + unit * (high - low))
        if isinstance(parameter, FloatParameter) and parameter.zero and value < parameter.low * (1 - 1e-12):
            return 0.0
        nearest = round(value) if isinstance(parameter, IntParameter) else value
        return min(max(nearest, parameter.low), parameter.high)
    values = axis(parameter)
    if values is not None:
        return values[min(int(unit * len(values)), len(values) - 1)]
    assert isinstance(parameter, FloatParameter)
    return min(max(parameter.low + unit * (parameter.high - parameter.low), parameter.low), parameter.high)


def to_unit(parameter: Parameter, value: Value) -> float:
    """Where a value of the parameter lies in [0, 1]; a discrete one at the middle of its interval."""
    if isinstance(parameter, CategoricalParameter | ConstantParameter):
        values = axis(parameter)
        assert values is not None
        return _middle(next(at for at, choice in enumerate(values) if same(choice, value)), values)
    assert isinstance(value, int | float)
    if parameter.log:
        low, high = log_edges(parameter)
        return min(max((math.log(value or zero_stands_at(parameter)) - low) / (high - low), 0.0), 1.0)
    values = axis(parameter)
    if values is not None:
        return _middle(round((value - parameter.low) / (parameter.step or 1)), values)
    return (value - parameter.low) / (parameter.high - parameter.low)


def scaled_names(space: Space) -> list[str]:
    """The parameters that always exist and have an order, sorted: what a search by distance can move in."""
    return [name for name in sorted(space) if not space[name].when and _has_scale(space[name])]


def zero_stands_at(parameter: NumericParameter) -> float:
    """The number that stands for zero on a logarithmic scale that has it: the middle of the decade below `low`."""
    return parameter.low / math.sqrt(10)


def log_edges(parameter: NumericParameter) -> tuple[float, float]:
    """The logarithms between which a scale runs.

    Half a step wider for whole numbers, so that the ends count full; where zero is a value, it owns one more decade.
    """
    if isinstance(parameter, IntParameter):
        return math.log(parameter.low - 0.5), math.log(parameter.high + 0.5)
    return math.log(parameter.low / 10 if parameter.zero else parameter.low), math.log(parameter.high)


def _middle(index: int, values: Sequence[Value]) -> float:
    return (index + 0.5) / len(values)


def _has_scale(parameter: Parameter) -> bool:
    if isinstance(parameter, CategoricalParameter):
        return parameter.ordered and len(parameter.choices) > 1
    return not isinstance(parameter, ConstantParameter)
