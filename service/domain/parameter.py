"""Rules of a single parameter: its values, membership tests, and a description of its domain."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never, overload

from service.contract.base import Value
from service.contract.space import (
    CategoricalParameter,
    ConstantParameter,
    FloatParameter,
    IntParameter,
    NumericParameter,
    Parameter,
)


@dataclass(frozen=True, slots=True)
class StepRange(Sequence[float]):
    """A lazy sequence of `num` numbers from `low` in steps of `step`."""

    low: float
    step: float
    num: int

    def __len__(self) -> int:
        return self.num

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[float]: ...
    def __getitem__(self, index: int | slice) -> float | Sequence[float]:
        places = range(self.num)[index]
        if isinstance(places, range):
            return [self[at] for at in places]
        # Round to 15 digits, so that 0.1 + 2 * 0.1 is 0.3, as a study file would write it.
        return float(f"{self.low + places * self.step:.15g}")


def values_of(parameter: Parameter) -> Sequence[Value] | None:
    """Return all values of a parameter in order, or None if it is continuous."""
    match parameter:
        case CategoricalParameter():
            return parameter.choices
        case ConstantParameter():
            return [parameter.value]
        case IntParameter():
            return range(parameter.low, parameter.high + 1, parameter.step)
        case FloatParameter(step=None):
            return None
        case FloatParameter(step=float(step)):
            num = math.floor((parameter.high - parameter.low) / step + 1e-6) + 1
            return StepRange(parameter.low, step, num)
        case _:
            assert_never(parameter)  # type: ignore[arg-type]  # both kinds of step are above


def index_of(values: Sequence[Value], value: object) -> int | None:
    """Return the index of a value on the axis of a parameter, or None if it is not there.

    Ranges are searched by bisection, other axes one by one.
    """
    if isinstance(values, range | StepRange):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        at = bisect_left(values, value)
        return at if at < len(values) and values[at] == value else None
    return next((at for at, each in enumerate(values) if same_value(each, value)), None)


def same_value(value: object, other: object) -> bool:
    """Return whether two values are the same setting: 1 and 1.0 are the same, 1 and True are not."""
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def contains(parameter: Parameter, value: object) -> bool:
    """Return whether `value` has the parameter's type, is in its range and on its step lattice."""
    if isinstance(parameter, CategoricalParameter | ConstantParameter):
        return any(same_value(choice, value) for choice in values_of(parameter) or ())
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if isinstance(parameter, FloatParameter) and parameter.zero and value == 0:
        return True
    return parameter.low <= value <= parameter.high and _is_on_step(parameter, value)


def _is_on_step(parameter: NumericParameter, value: float) -> bool:
    if isinstance(parameter, IntParameter):
        return isinstance(value, int) and (value - parameter.low) % parameter.step == 0
    if parameter.step is None:
        return True
    cells = (value - parameter.low) / parameter.step
    return math.isclose(cells, round(cells), abs_tol=1e-6)


def describe_domain(parameter: Parameter) -> str:
    """Describe in words the values that a parameter may have."""
    match parameter:
        case ConstantParameter():
            return repr(parameter.value)
        case CategoricalParameter():
            return f"one of {', '.join(repr(choice) for choice in parameter.choices)}"
        case FloatParameter() | IntParameter():
            kind = "a whole number" if isinstance(parameter, IntParameter) else "a number"
            zero = "0 or " if isinstance(parameter, FloatParameter) and parameter.zero else ""
            lattice = f" in steps of {parameter.step:g}" if parameter.step not in (None, 1) else ""
            return f"{zero}{kind} in [{parameter.low:g}, {parameter.high:g}]{lattice}"
        case _:
            assert_never(parameter)
