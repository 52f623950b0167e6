"""The next box of a coarse-to-fine search: drawn around the best trials, by rules that say why."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.contract.base import Value
from service.contract.space import CategoricalParameter, FloatParameter, IntParameter, Parameter, Space
from service.domain.cells import axis
from service.domain.history import TrialRecord
from service.domain.space import fits, ordered, same
from service.search.scale import from_unit, to_unit

NumericParameter = FloatParameter | IntParameter

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

    def having(self, name: str) -> Evidence:
        """The same of the trials in which a (conditional) parameter exists."""
        top = sum(name in trial.parameters for trial in self.ranked[: self.num_top])
        return Evidence([trial for trial in self.ranked if name in trial.parameters], top)


@dataclass(frozen=True, slots=True)
class Box:
    """A sub-space to search, and what changed against the box before, in words."""

    space: Space
    changes: tuple[str, ...] = ()


def narrow(declared: Space, box: Space, evidence: Evidence) -> Box:
    """Draw the next box inside `declared` from what the trials in `box` taught.

    A range spans the top trials plus the mean gap between as many uniform draws, on the parameter's own scale: where
    a parameter does not matter the range stays, few trials narrow little, and no range collapses. Where the best
    trial sits at a border of the box, the range grows across it instead.
    """
    narrowed: Space = {}
    changes: list[str] = []
    for name in ordered(declared):
        parameter = box[name]
        known = evidence.having(name)
        after: Parameter = parameter
        why = ""
        if known.num_top:
            base = declared[name]
            if isinstance(parameter, CategoricalParameter) and isinstance(base, CategoricalParameter):
                after, why = _narrow_choices(name, base, parameter, known)
            elif not isinstance(parameter, CategoricalParameter) and not isinstance(base, CategoricalParameter):
                after, why = _narrow_range(name, base, parameter, known)
        narrowed[name] = after
        if after != parameter:
            changes.append(f"{name} {extent(parameter)} -> {extent(after)} {why}")
    return Box(narrowed, tuple(changes))


def extent(parameter: Parameter) -> str:
    """What a parameter ranges over, in words."""
    if isinstance(parameter, CategoricalParameter):
        return "{" + ", ".join(str(choice) for choice in parameter.choices) + "}"
    return f"[{parameter.low:.4g}, {parameter.high:.4g}]"


def _narrow_choices(
    name: str, declared: CategoricalParameter, parameter: CategoricalParameter, known: Evidence
) -> tuple[CategoricalParameter, str]:
    share_below = 1 - known.num_top / len(known.ranked)
    top = known.ranked[: known.num_top]
    kept: list[Value] = []
    for choice in declared.choices:
        num_tried = sum(same(trial.parameters[name], choice) for trial in known.ranked)
        among_top = any(same(trial.parameters[name], choice) for trial in top)
        if among_top or (fits(parameter, choice) and share_below**num_tried > _CHANCE):
            kept.append(choice)
    why = f"because the others were tried often and are not among the best {known.num_top} of {len(known.ranked)}"
    return parameter.model_copy(update={"choices": kept}), why


def _narrow_range(
    name: str, declared: NumericParameter, parameter: NumericParameter, known: Evidence
) -> tuple[NumericParameter, str]:
    start, end = to_unit(declared, parameter.low), to_unit(declared, parameter.high)
    width = end - start
    places = [to_unit(declared, trial.parameters[name]) for trial in known.ranked[: known.num_top]]
    margin = width / (known.num_top + 1)
    # Trials from outside the box (enqueued ones, say) may be among the top; the box reaches them.
    low = max(min(start, *places), min(places) - margin)
    high = min(max(end, *places), max(places) + margin)
    best = f"{known.num_top} of {len(known.ranked)} lie" if known.num_top > 1 else f"of {len(known.ranked)} lies"
    why = f"because the best {best} there"
    if places[0] <= start + _BORDER * width:
        low = min(low, start - _GROWTH * width)
        why += f", and the lower end {'stays' if parameter.low <= declared.low else 'grows'} where the best one sits"
    if places[0] >= end - _BORDER * width:
        high = max(high, end + _GROWTH * width)
        why += f", and the upper end {'stays' if parameter.high >= declared.high else 'grows'} where the best one sits"
    return _between(declared, parameter, max(low, 0.0), min(high, 1.0)), why


def _between(declared: NumericParameter, parameter: NumericParameter, low: float, high: float) -> NumericParameter:
    """The parameter from `low` to `high` of the declared unit scale, rounded outwards to readable numbers."""
    first, last = from_unit(declared, low), from_unit(declared, high)
    assert isinstance(first, int | float)
    assert isinstance(last, int | float)
    if isinstance(declared, IntParameter) or declared.step is not None:
        first, last = _at_least_two(declared, first, last)
    else:
        digits = last - first
        first = max(declared.low, _rounded(first, first if declared.log else digits, math.floor))
        last = min(declared.high, _rounded(last, last if declared.log else digits, math.ceil))
    return parameter.model_copy(update={"low": first, "high": last})


def _at_least_two(declared: NumericParameter, first: float, last: float) -> tuple[float, float]:
    """Widen a discrete range that shrank to one value to its neighbours."""
    values = axis(declared)
    assert values is not None
    if first < last:
        return first, last
    at = round((first - declared.low) / (declared.step or 1))
    low, high = values[max(at - 1, 0)], values[min(at + 1, len(values) - 1)]
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    return low, high


def _rounded(value: float, magnitude: float, towards: Callable[[float], int]) -> float:
    """Round to three digits of `magnitude`."""
    quantum = 10.0 ** (math.floor(math.log10(magnitude)) - 2)
    return float(f"{towards(value / quantum) * quantum:.12g}")
