"""Values as numbers that a model computes with: a choice by its position, zero of a log range by what stands for it."""

from __future__ import annotations

from service.contract.base import Value
from service.contract.space import CategoricalParameter, ConstantParameter, FloatParameter, IntParameter, Parameter
from service.domain.parameter import axis, same
from service.search.scale import from_unit, to_unit, zero_stands_at


def coordinate(parameter: Parameter, value: Value) -> float:
    """The number that stands for a value of the parameter."""
    if isinstance(parameter, CategoricalParameter | ConstantParameter):
        return next(at for at, choice in enumerate(axis(parameter) or ()) if same(choice, value))
    assert isinstance(value, int | float)
    return float(value or zero_stands_at(parameter)) if parameter.log else float(value)


def value_at(parameter: Parameter, number: float) -> Value:
    """The value that a number stands for, or the nearest one."""
    match parameter:
        case CategoricalParameter() | ConstantParameter():
            return (axis(parameter) or [])[round(number)]
        case IntParameter():
            return round(number)
        case FloatParameter() if parameter.step is not None or parameter.zero:
            # Sums of steps differ in the last digit from what the study file would write; and what lies below is zero.
            return from_unit(parameter, to_unit(parameter, number))
        case _:
            return number
