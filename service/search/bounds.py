"""Boxes of a coarse-to-fine search as plain values, which are stored, shown and edited, and conversion to a space."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from math import inf

from service.contract.base import Value
from service.contract.mistakes import did_you_mean, quote
from service.contract.problem import FieldError
from service.contract.space import (
    CategoricalParameter,
    ConstantParameter,
    FloatParameter,
    NumericParameter,
    Parameter,
    Space,
)
from service.domain.parameter import axis, domain_of, fits, same


def bounds(parameter: Parameter) -> list[Value]:
    """Return the range of a parameter as values: its choices, or its lower and upper end."""
    if not isinstance(parameter, NumericParameter):
        return list(axis(parameter) or ())
    return [0.0 if isinstance(parameter, FloatParameter) and parameter.zero else parameter.low, parameter.high]


def extent(parameter: Parameter) -> str:
    """Return the range of a parameter in words."""
    if not isinstance(parameter, NumericParameter):
        return "{" + ", ".join(str(choice) for choice in axis(parameter) or ()) + "}"
    zero = "0 or " if isinstance(parameter, FloatParameter) and parameter.zero else ""
    return f"{zero}[{parameter.low:.4g}, {parameter.high:.4g}]"


def in_numbers(space: Space) -> dict[str, list[Value]]:
    """Return a box as plain values: parameter -> its choices, or its lower and upper end."""
    return {name: bounds(parameter) for name, parameter in space.items()}


def in_space(declared: Space, box: Mapping[str, Sequence[Value]]) -> Space:
    """Convert a box of plain values to a sub-space of the declared space.

    The space may have been edited after the box was stored. A range is cut to what the space allows. A parameter that
    is not in the box, or of whose range too little is left, keeps its declared range.
    """
    return {name: _cut(each, box[name]) if name in box else each for name, each in declared.items()}


def check_box(declared: Space, box: Mapping[str, Sequence[Value]]) -> list[FieldError]:
    """Check a box that a person has written against a checked space."""
    return [
        FieldError(path=f"box.{name}", message=message)
        for name, values in box.items()
        if (message := _fault(declared, name, values))
    ]


def _cut(declared: Parameter, values: Sequence[Value]) -> Parameter:
    if isinstance(declared, ConstantParameter):
        return declared
    if isinstance(declared, CategoricalParameter):
        left = [choice for choice in declared.choices if any(same(choice, value) for value in values)]
        return declared.model_copy(update={"choices": left}) if left else declared
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    low, high = max(declared.low, min(numbers, default=declared.high)), min(declared.high, max(numbers, default=-inf))
    lattice = axis(declared)
    if lattice is not None:
        first, last = bisect_left(lattice, low), bisect_right(lattice, high) - 1
        return declared.model_copy(update={"low": lattice[first], "high": lattice[last]}) if last > first else declared
    assert isinstance(declared, FloatParameter)
    zero = declared.zero and 0 in numbers
    update = {"low": float(low), "high": float(high), "zero": zero}
    return declared.model_copy(update=update) if low < high else declared


def _fault(declared: Space, name: str, values: Sequence[Value]) -> str | None:
    parameter = declared.get(name)
    if parameter is None:
        return f"is no parameter of the space: {did_you_mean(name, declared)}"
    outside = [value for value in values if not fits(parameter, value)]
    if outside:
        place = f"{quote(outside[0])} is outside the declared space, which is {domain_of(parameter)}"
        return f"{place}; stay inside, or edit the study first (study edit)"
    if not isinstance(parameter, NumericParameter):
        return None if values else "lists no choice; list one"
    return _range_fault(parameter, values)


def _range_fault(parameter: NumericParameter, values: Sequence[Value]) -> str | None:
    if len(values) != 2:
        return f"must be two ends, such as {bounds(parameter)}, got {quote(list(values))}"
    low, high = values
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    if low >= high:
        return f"must begin below its end, got {quote(list(values))}"
    if isinstance(parameter, FloatParameter) and parameter.zero and high <= parameter.low:
        return f"must reach above {parameter.low:g}, as 0 alone is no range, got {quote(list(values))}"
    return None
