"""Transforms parameter values to the numbers that models compute with, and back; a choice becomes its index."""

from __future__ import annotations

from service.contract.base import Value
from service.contract.space import CategoricalParameter, ConstantParameter, FloatParameter, IntParameter, Parameter
from service.domain.parameter import axis, same
from service.search.scale import from_unit, to_unit, zero_stands_at


def coordinate(parameter: Parameter, value: Value) -> float:
    """Return the number that represents a value of the parameter.

    A choice is represented by its index, and zero of a log range by `zero_stands_at`.
    """
    if isinstance(parameter, CategoricalParameter | ConstantParameter):
        return next(at for at, choice in enumerate(axis(parameter) or ()) if same(choice, value))
    assert isinstance(value, int | float)
    return float(value or zero_stands_at(parameter)) if parameter.log else float(value)


def value_at(parameter: Parameter, number: float) -> Value:
    """Return the parameter's value that a number represents, or the nearest value."""
    match parameter:
        case CategoricalParameter() | ConstantParameter():
            return (axis(parameter) or [])[round(number)]
        case IntParameter():
            return round(number)
        case FloatParameter() if parameter.step is not None or parameter.zero:
            # Sums of steps differ in the last digit from the values in a study file; numbers below `low` mean zero.
            return from_unit(parameter, to_unit(parameter, number))
        case _:
            return number
