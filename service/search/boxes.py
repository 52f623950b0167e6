"""Box refinement of a coarse-to-fine search: derives the next box from the best trials, with reasons."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import assert_never

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
from service.domain.history import TrialRecord
from service.domain.parameter import axis, fits, same
from service.domain.space import ordered
from service.search.bounds import bounds, extent
from service.search.scale import from_unit, to_unit

Scaled = NumericParameter | CategoricalParameter
"""An ordered parameter: a numeric one, or a categorical one whose choices are ordered."""

_BORDER = 0.1
"""Fraction of a box's width that counts as the border at each end."""

_GROWTH = 0.5
"""How far a box grows past an end if the best trial lies at that border, in widths of the box."""

_CHANCE = 0.1
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
        known = [name in trial.parameters and fits(declared, trial.parameters[name]) for trial in self.ranked]
        return Evidence(list(compress(self.ranked, known)), sum(known[: self.num_top]))


@dataclass(frozen=True, slots=True)
class Box:
    """A sub-space to search, and the changes from the previous box in words."""

    space: Space
    changes: tuple[str, ...] = ()


def narrow(declared: Space, box: Space, evidence: Evidence) -> Box:
    """Derive the next box inside `declared` from the trials in `box`.

    A range spans the top trials plus a margin on each side, on the parameter's own scale. The margin is the mean gap
    between as many uniform draws, so the range of an unimportant parameter stays, few trials narrow it little, and no
    range collapses. If the best trial lies at a border of the box, the range grows past that border instead. Ordered
    choices are treated as a range. An unordered choice is dropped if its absence from the top trials is unlikely to be
    chance.

    Args:
        declared: the study's search space.
        box: the current box.
        evidence: the trials to learn from.
    """
    narrowed: Space = {}
    changes: list[str] = []
    for name in ordered(declared):
        before = box[name]
        after, why = _narrowed(name, declared[name], before, evidence.having(name, declared[name]))
        narrowed[name] = after
        if after != before:
            changes.append(f"{name} {extent(before)} -> {extent(after)} {why}")
    return Box(narrowed, tuple(changes))


def _narrowed(name: str, declared: Parameter, before: Parameter, known: Evidence) -> tuple[Parameter, str]:
    """Return the parameter of the next box, and the reason for a change."""
    match declared:
        case CategoricalParameter(ordered=False):
            assert isinstance(before, CategoricalParameter)
            return _narrow_choices(name, declared, before, known) if known.num_top else (before, "")
        case FloatParameter() | IntParameter() | CategoricalParameter():
            assert not isinstance(before, ConstantParameter)
            return _narrow_range(name, declared, before, known) if known.num_top else (before, "")
        case ConstantParameter():
            return before, ""
        case _:
            assert_never(declared)


def _narrow_choices(
    name: str, declared: CategoricalParameter, before: CategoricalParameter, known: Evidence
) -> tuple[CategoricalParameter, str]:
    share_below = 1 - known.num_top / len(known.ranked)
    top = known.ranked[: known.num_top]
    kept: list[Value] = []
    for choice in declared.choices:
        num_tried = sum(same(trial.parameters[name], choice) for trial in known.ranked)
        among_top = any(same(trial.parameters[name], choice) for trial in top)
        if among_top or (fits(before, choice) and share_below**num_tried > _CHANCE):
            kept.append(choice)
    why = f"because the others were tried often and are not among the best {known.num_top} of {len(known.ranked)}"
    return before.model_copy(update={"choices": kept}), why


def _narrow_range(name: str, declared: Scaled, before: Scaled, known: Evidence) -> tuple[Scaled, str]:
    start, end = _ends(declared, before)
    width = end - start
    places = [to_unit(declared, trial.parameters[name]) for trial in known.ranked[: known.num_top]]
    margin = width / (known.num_top + 1)
    # Top trials may lie outside the box, for example enqueued ones. The next box includes them.
    low = max(min(start, *places), min(places) - margin)
    high = min(max(end, *places), max(places) + margin)
    best = f"{known.num_top} of {len(known.ranked)} lie" if known.num_top > 1 else f"of {len(known.ranked)} lies"
    why = f"because the best {best} there"
    first, last = _ends(declared, declared)
    if places[0] <= start + _BORDER * width:
        low = min(low, start - _GROWTH * width)
        why += f", and the lower end {'stays' if start <= first else 'grows'} where the best one sits"
    if places[0] >= end - _BORDER * width:
        high = max(high, end + _GROWTH * width)
        why += f", and the upper end {'stays' if end >= last else 'grows'} where the best one sits"
    return _between(declared, before, max(low, 0.0), min(high, 1.0)), why


def _ends(declared: Scaled, box: Scaled) -> tuple[float, float]:
    """Return the positions in [0, 1] of a box's ends on the scale of the declared parameter."""
    values = bounds(box)
    return to_unit(declared, values[0]), to_unit(declared, values[-1])


def _between(declared: Scaled, before: Scaled, low: float, high: float) -> Scaled:
    """Return the parameter from `low` to `high` on the declared scale; numbers are rounded outwards to three digits."""
    first, last = from_unit(declared, low), from_unit(declared, high)
    values = axis(declared)
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
        return next(at for at, choice in enumerate(parameter.choices) if same(choice, value))
    assert isinstance(value, int | float)
    return round((value - parameter.low) / (parameter.step or 1))


def _at_least_two(start: int, end: int, num: int) -> tuple[int, int]:
    """Widen a discrete range of a single value to include its neighbours."""
    return (start, end) if start < end else (max(start - 1, 0), min(end + 1, num - 1))


def _rounded(value: float, magnitude: float, towards: Callable[[float], int]) -> float:
    """Round to the third significant digit of `magnitude`."""
    quantum = 10.0 ** (math.floor(math.log10(magnitude)) - 2)
    return float(f"{towards(value / quantum) * quantum:.12g}")
