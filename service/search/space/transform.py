"""Maps parameters to the unit cube and to the coordinates of models, and back."""

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
from service.domain.parameter import same_value, values_of


def coordinate(parameter: Parameter, value: Value) -> float:
    """Return the number that represents a value of the parameter.

    A choice is represented by its index, and zero of a log range by `zero_stands_at`.
    """
    if isinstance(parameter, CategoricalParameter | ConstantParameter):
        return next(at for at, choice in enumerate(values_of(parameter) or ()) if same_value(choice, value))
    assert isinstance(value, int | float)
    return float(value or zero_stands_at(parameter)) if parameter.log else float(value)


def value_at(parameter: Parameter, number: float) -> Value:
    """Return the parameter's value that a number represents, or the nearest value."""
    match parameter:
        case CategoricalParameter() | ConstantParameter():
            return (values_of(parameter) or [])[round(number)]
        case IntParameter():
            return round(number)
        case FloatParameter() if parameter.step is not None or parameter.zero:
            # Sums of steps differ in the last digit from the values in a study file; numbers below `low` mean zero.
            return from_unit(parameter, to_unit(parameter, number))
        case _:
            return number


def from_unit(parameter: Parameter, unit: float) -> Value:
    """Return the parameter's value at `unit` in [0, 1].

    Each discrete value has its own interval, of equal width unless the parameter is log. A log parameter is uniform in
    the logarithm.
    """
    if isinstance(parameter, NumericParameter) and parameter.log:
        low, high = log_edges(parameter)
        value = math.exp(low + unit * (high - low))
        if isinstance(parameter, FloatParameter) and parameter.zero and value < parameter.low * (1 - 1e-12):
            return 0.0
        nearest = round(value) if isinstance(parameter, IntParameter) else value
        return min(max(nearest, parameter.low), parameter.high)
    values = values_of(parameter)
    if values is not None:
        return values[min(int(unit * len(values)), len(values) - 1)]
    assert isinstance(parameter, FloatParameter)
    return min(max(parameter.low + unit * (parameter.high - parameter.low), parameter.low), parameter.high)


def to_unit(parameter: Parameter, value: Value) -> float:
    """Return the position in [0, 1] of a parameter's value; for a discrete value, the middle of its interval."""
    if isinstance(parameter, CategoricalParameter | ConstantParameter):
        values = values_of(parameter)
        assert values is not None
        return _middle(next(at for at, choice in enumerate(values) if same_value(choice, value)), values)
    assert isinstance(value, int | float)
    if parameter.log:
        low, high = log_edges(parameter)
        return min(max((math.log(value or zero_stands_at(parameter)) - low) / (high - low), 0.0), 1.0)
    values = values_of(parameter)
    if values is not None:
        return _middle(round((value - parameter.low) / (parameter.step or 1)), values)
    return (value - parameter.low) / (parameter.high - parameter.low)


def scaled_names(space: Space) -> list[str]:
    """Return the sorted names of parameters that are unconditional and ordered, which a distance-based search needs."""
    return [name for name in sorted(space) if not space[name].when and _has_scale(space[name])]


def is_unordered(parameter: Parameter) -> bool:
    """Return whether a parameter is a choice whose values have no order, so that all of them are equally different."""
    return isinstance(parameter, CategoricalParameter) and not parameter.ordered


def zero_stands_at(parameter: NumericParameter) -> float:
    """Return the number that represents zero on a log scale: the middle of the decade below `low`."""
    return parameter.low / math.sqrt(10)


def log_edges(parameter: NumericParameter) -> tuple[float, float]:
    """Return the natural logarithms of a log scale's lower and upper end.

    For whole numbers the scale is half a step wider at each end, so that the end values get a full interval. If zero is
    a value, it gets one more decade below `low`.
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
