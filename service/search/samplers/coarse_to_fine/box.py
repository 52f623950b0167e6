"""Boxes: the part of the space that a stage searches, and how the next one follows from the trials."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from math import inf
from typing import assert_never

from service.contract.base import Value
from service.contract.problem import FieldError
from service.contract.space import (
    CategoricalParameter,
    ConstantParameter,
    FloatParameter,
    IntParameter,
    NumericParameter,
    Parameter,
    Space,
)
from service.contract.validation_errors import did_you_mean, quote
from service.domain.history import TrialRecord
from service.domain.parameter import contains, describe_domain, same_value, values_of
from service.domain.space import topological_order
from service.search.space.transform import from_unit, to_unit


def bounds(parameter: Parameter) -> list[Value]:
    """Return the range of a parameter as values: its choices, or its lower and upper end."""
    if not isinstance(parameter, NumericParameter):
        return list(values_of(parameter) or ())
    return [0.0 if isinstance(parameter, FloatParameter) and parameter.zero else parameter.low, parameter.high]


def format_range(parameter: Parameter) -> str:
    """Return the range of a parameter in words."""
    if not isinstance(parameter, NumericParameter):
        return "{" + ", ".join(str(choice) for choice in values_of(parameter) or ()) + "}"
    zero = "0 or " if isinstance(parameter, FloatParameter) and parameter.zero else ""
    return f"{zero}[{parameter.low:.4g}, {parameter.high:.4g}]"


def to_bounds(space: Space) -> dict[str, list[Value]]:
    """Return a box as plain values: parameter -> its choices, or its lower and upper end."""
    return {name: bounds(parameter) for name, parameter in space.items()}


def from_bounds(declared: Space, box: Mapping[str, Sequence[Value]]) -> Space:
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
        left = [choice for choice in declared.choices if any(same_value(choice, value) for value in values)]
        return declared.model_copy(update={"choices": left}) if left else declared
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    low, high = max(declared.low, min(numbers, default=declared.high)), min(declared.high, max(numbers, default=-inf))
    lattice = values_of(declared)
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
    outside = [value for value in values if not contains(parameter, value)]
    if outside:
        place = f"{quote(outside[0])} is outside the declared space, which is {describe_domain(parameter)}"
        return f"{place}; stay inside, or edit the study first (study edit)"
    if not isinstance(parameter, NumericParameter):
        return None if values else "lists no choice; list one"
    return _range_fault(parameter, values)


def _range_fault(parameter: NumericParameter, values: Sequence[Value]) -> str | None:
    if len(values) != 2:
        return f"must be two bounds, such as {bounds(parameter)}, got {quote(list(values))}"
    low, high = values
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    if low >= high:
        return f"must begin below its end, got {quote(list(values))}"
    if isinstance(parameter, FloatParameter) and parameter.zero and high <= parameter.low:
        return f"must reach above {parameter.low:g}, as 0 alone is no range, got {quote(list(values))}"
    return None


Scaled = NumericParameter | CategoricalParameter
"""An ordered parameter: a numeric one, or a categorical one whose choices are ordered."""


_BORDER = 0.1
"""Fraction of a box's width that counts as the border at each end."""


_GROWTH = 0.5
"""How far a box grows past an end if the best trial lies at that border, in widths of the box."""


_PROBABILITY = 0.1
"""A choice is dropped if the probability that it is missing from the top trials by chance is at most this."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The trials from which a stage's box is refined: those with a value, best first, then the infeasible ones.

    Infeasible trials show where not to search. The first `num_top` trials count as the best.
    """

    ranked: Sequence[TrialRecord]
    num_top: int

    def having(self, name: str, declared: Parameter) -> Evidence:
        """Return the evidence of the trials in which a parameter is active and has a value that is still declared."""
        known = [name in trial.parameters and contains(declared, trial.parameters[name]) for trial in self.ranked]
        return Evidence(list(compress(self.ranked, known)), sum(known[: self.num_top]))


@dataclass(frozen=True, slots=True)
class Box:
    """A sub-space to search, and the changes from the previous box in words."""

    space: Space
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tried:
    """How a stage has tried its box.

    Attributes:
        fixed: parameters that had one value, which says nothing about their range.
        on_grid: whether the values of a range were those of a grid, and not drawn at random.
    """

    fixed: Collection[str] = ()
    on_grid: bool = False


def refine(declared: Space, box: Space, evidence: Evidence, tried: Tried = Tried()) -> Box:
    """Derive the next box inside `declared` from the trials in `box`.

    A range spans the top trials plus a margin on each side, on the parameter's own scale. The margin is the mean gap
    between as many uniform draws, so the range of an unimportant parameter stays, few trials narrow it little, and no
    range collapses. After a grid, the margin is half the distance between its values. If the best trial lies at a
    border of the box, the range grows past that border instead. Ordered choices are treated as a range. An unordered
    choice is dropped if its absence from the top trials is unlikely to be chance. A fixed parameter keeps its range.

    Args:
        declared: the study's search space.
        box: the current box.
        evidence: the trials to learn from.
        tried: how the trials in `box` were chosen.
    """
    narrowed: Space = {}
    changes: list[str] = []
    for name in topological_order(declared):
        before = box[name]
        known = evidence.having(name, declared[name])
        after, why = (before, "") if name in tried.fixed else _refined(name, declared[name], before, known, tried)
        narrowed[name] = after
        if after != before:
            changes.append(f"{name} {format_range(before)} -> {format_range(after)} {why}")
    return Box(narrowed, tuple(changes))


def _refined(name: str, declared: Parameter, before: Parameter, known: Evidence, tried: Tried) -> tuple[Parameter, str]:
    """Return the parameter of the next box, and the reason for a change."""
    match declared:
        case CategoricalParameter(ordered=False):
            assert isinstance(before, CategoricalParameter)
            return _refine_choices(name, declared, before, known) if known.num_top else (before, "")
        case FloatParameter() | IntParameter() | CategoricalParameter():
            assert not isinstance(before, ConstantParameter)
            return _refine_range(name, declared, before, known, tried) if known.num_top else (before, "")
        case ConstantParameter():
            return before, ""
        case _:
            assert_never(declared)


def _refine_choices(
    name: str, declared: CategoricalParameter, before: CategoricalParameter, known: Evidence
) -> tuple[CategoricalParameter, str]:
    share_below = 1 - known.num_top / len(known.ranked)
    top = known.ranked[: known.num_top]
    kept: list[Value] = []
    for choice in declared.choices:
        num_tried = sum(same_value(trial.parameters[name], choice) for trial in known.ranked)
        among_top = any(same_value(trial.parameters[name], choice) for trial in top)
        if among_top or (contains(before, choice) and share_below**num_tried > _PROBABILITY):
            kept.append(choice)
    why = f"because the others were tried often and are not among the best {known.num_top} of {len(known.ranked)}"
    return before.model_copy(update={"choices": kept}), why


def _refine_range(name: str, declared: Scaled, before: Scaled, known: Evidence, tried: Tried) -> tuple[Scaled, str]:
    start, end = _ends(declared, before)
    width = end - start
    places = [to_unit(declared, trial.parameters[name]) for trial in known.ranked[: known.num_top]]
    margin = width * (_grid_margin(before) if tried.on_grid else 1 / (known.num_top + 1))
    # Top trials may lie outside the box, for example enqueued ones. The next box includes them.
    low = max(min(start, *places), min(places) - margin)
    high = min(max(end, *places), max(places) + margin)
    best = f"{known.num_top} of {len(known.ranked)} lie" if known.num_top > 1 else f"of {len(known.ranked)} lies"
    why = f"because the best {best} there"
    first, last = _ends(declared, declared)
    if places[0] <= start + _BORDER * width:
        low = min(low, start - _GROWTH * width)
        why += f", and the lower bound {'stays' if start <= first else 'grows'} because the best trial is at it"
    if places[0] >= end - _BORDER * width:
        high = max(high, end + _GROWTH * width)
        why += f", and the upper bound {'stays' if end >= last else 'grows'} because the best trial is at it"
    return _between(declared, before, max(low, 0.0), min(high, 1.0)), why


def _grid_margin(box: Scaled) -> float:
    """Return half the distance between two values of a grid in a box, as a fraction of the box's width.

    Of a parameter whose values are all tried, nothing lies between two of them.
    """
    if isinstance(box, CategoricalParameter) or box.points is None:
        return 0.0
    return 0.5 / (box.points - 1)


def _ends(declared: Scaled, box: Scaled) -> tuple[float, float]:
    """Return the positions in [0, 1] of a box's ends on the scale of the declared parameter."""
    values = bounds(box)
    return to_unit(declared, values[0]), to_unit(declared, values[-1])


def _between(declared: Scaled, before: Scaled, low: float, high: float) -> Scaled:
    """Return the parameter from `low` to `high` on the declared scale; numbers are rounded outwards to three digits."""
    first, last = from_unit(declared, low), from_unit(declared, high)
    values = values_of(declared)
    if values is not None:
        start, end = _at_least_two(_place(declared, first), _place(declared, last), len(values))
        if isinstance(declared, CategoricalParameter):
            return before.model_copy(update={"choices": list(values[start : end + 1])})
        return before.model_copy(update={"low": values[start], "high": values[end]})
    assert isinstance(declared, FloatParameter)
    assert isinstance(first, int | float)
    assert isinstance(last, int | float)
    zero = declared.zero and first == 0
    # Zero alone is no range, so keep the lowest decade as well.
    bottom, top = first or declared.low, max(last, 10 * declared.low) if zero else last
    low_digit, high_digit = (bottom, top) if declared.log else (top - bottom, top - bottom)
    update = {
        "low": max(declared.low, _rounded(bottom, low_digit, math.floor)),
        "high": min(declared.high, _rounded(top, high_digit, math.ceil)),
        "zero": zero,
    }
    return before.model_copy(update=update)


def _place(parameter: Scaled, value: Value) -> int:
    """Return the index of a value of a discrete parameter."""
    if isinstance(parameter, CategoricalParameter):
        return next(at for at, choice in enumerate(parameter.choices) if same_value(choice, value))
    assert isinstance(value, int | float)
    return round((value - parameter.low) / (parameter.step or 1))


def _at_least_two(start: int, end: int, num: int) -> tuple[int, int]:
    """Widen a discrete range of a single value to include its neighbours."""
    return (start, end) if start < end else (max(start - 1, 0), min(end + 1, num - 1))


def _rounded(value: float, magnitude: float, towards: Callable[[float], int]) -> float:
    """Round to the third significant digit of `magnitude`."""
    quantum = 10.0 ** (math.floor(math.log10(magnitude)) - 2)
    return float(f"{towards(value / quantum) * quantum:.12g}")
