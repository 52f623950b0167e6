"""The next box of a coarse-to-fine search: drawn around the best trials, by rules that say why."""

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
"""A parameter with an order: a number, or a categorical whose choices are ordered."""

_BORDER = 0.1
"""The share of a box at each end that counts as its border."""

_GROWTH = 0.5
"""How far a box grows beyond the border that the best trial sits at, in widths of the box."""

_CHANCE = 0.1
"""A value is dropped when its absence from the top would be luck less often than this."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a stage taught: its trials with a value, best first, and how many of them count as the top.

    Infeasible trials come last: they say where not to search.
    """

    ranked: Sequence[TrialRecord]
    num_top: int

    def having(self, name: str, declared: Parameter) -> Evidence:
        """The same of the trials in which a parameter exists, with a value that is still declared."""
        known = [name in trial.parameters and fits(declared, trial.parameters[name]) for trial in self.ranked]
        return Evidence(list(compress(self.ranked, known)), sum(known[: self.num_top]))


@dataclass(frozen=True, slots=True)
class Box:
    """A sub-space to search, and what changed against the box before, in words."""

    space: Space
    changes: tuple[str, ...] = ()


def narrow(declared: Space, box: Space, evidence: Evidence) -> Box:
    """Draw the next box inside `declared` from what the trials in `box` taught.

    A range spans the top trials plus the mean gap between as many uniform draws, on the parameter's own scale: where
    a parameter does not matter the range stays, few trials narrow little, and no range collapses. Where the best
    trial sits at a border of the box, the range grows across it instead. Ordered choices are such a range; of others,
    one is dropped when its absence from the top would hardly be luck.
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
    """The parameter of the next box, and why it differs."""
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
    # Trials from outside the box (enqueued ones, say) may be among the top; the box reaches them.
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
    """Where the ends of a box lie on the declared scale."""
    values = bounds(box)
    return to_unit(declared, values[0]), to_unit(declared, values[-1])


def _between(declared: Scaled, before: Scaled, low: float, high: float) -> Scaled:
    """The parameter from `low` to `high` of the declared scale; numbers are rounded outwards to readable ones."""
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
    # Zero alone is no range: the smallest decade stays with it.
    bottom, top = first or declared.low, max(last, 10 * declared.low) if zero else last
    low_digit, high_digit = (bottom, top) if declared.log else (top - bottom, top - bottom)
    update = {
        "low": max(declared.low, _rounded(bottom, low_digit, math.floor)),
        "high": min(declared.high, _rounded(top, high_digit, math.ceil)),
        "zero": zero,
    }
    return before.model_copy(update=update)


def _place(parameter: Scaled, value: Value) -> int:
    """Which of the values of a discrete parameter it is."""
    if isinstance(parameter, CategoricalParameter):
        return next(at for at, choice in enumerate(parameter.choices) if same(choice, value))
    assert isinstance(value, int | float)
    return round((value - parameter.low) / (parameter.step or 1))


def _at_least_two(start: int, end: int, num: int) -> tuple[int, int]:
    """Widen a discrete range that shrank to one value to its neighbours."""
    return (start, end) if start < end else (max(start - 1, 0), min(end + 1, num - 1))


def _rounded(value: float, magnitude: float, towards: Callable[[float], int]) -> float:
    """Round to three digits of `magnitude`."""
    quantum = 10.0 ** (math.floor(math.log10(magnitude)) - 2)
    return float(f"{towards(value / quantum) * quantum:.12g}")
