"""Finite search spaces: counts the configurations and looks them up by index, without listing them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from service.contract.base import Value
from service.contract.problem import FieldError
from service.contract.space import Condition, Interval, Space
from service.domain.parameter import StepRange, index_of, values_of
from service.domain.space import condition_met, is_active, topological_order

MAX_STATES = 100_000
"""Largest number of combinations of other parameters that the conditions of a space may distinguish."""

_AXIS = StepRange(0.0, 1.0, 2)
"""Two placeholder values for a continuous parameter, used where only the conditions matter."""


def configuration_grid(space: Space) -> ConfigurationGrid | None:
    """Return the configurations of a checked space, or None if a parameter is continuous."""
    axes = {name: values for name, parameter in space.items() if (values := values_of(parameter)) is not None}
    return ConfigurationGrid(space, axes) if axes.keys() == space.keys() else None


def num_configurations(space: Space) -> int | None:
    """Return the number of configurations of a checked space, or None if there are infinitely many."""
    finite = configuration_grid(space)
    return None if finite is None else finite.size


def check_finite_space(space: Space) -> list[FieldError]:
    """Check that the configurations of a space can be counted: conditions distinguish at most `MAX_STATES` states."""
    axes = {name: _AXIS if (values := values_of(parameter)) is None else values for name, parameter in space.items()}
    num_states = ConfigurationGrid(space, axes).num_states
    if num_states <= MAX_STATES:
        return []
    message = (
        f"the conditions distinguish {num_states:.3g} combinations of other parameters, and at most {MAX_STATES} "
        "can be counted; let fewer parameters depend on each other"
    )
    return [FieldError(path="space", message=message)]


@dataclass(frozen=True, slots=True)
class _Segment:
    """Consecutive values of a parameter that no condition of another parameter distinguishes."""

    start: int
    num: int


class ConfigurationGrid:
    """The distinct configurations of a space over the given axes, indexed in lexicographic order.

    The last name in the order of `topological_order` varies fastest. Values that no condition distinguishes are
    counted together, so the cost depends on the conditions and not on the number of configurations.

    Args:
        space: a checked space.
        axes: parameter -> its values, in order.
    """

    def __init__(self, space: Space, axes: Mapping[str, Sequence[Value]]) -> None:
        self._space = space
        self._axes = axes
        self._order = topological_order(space)
        self._last_use = {
            named: position for position, name in enumerate(self._order) for named in space[name].when or {}
        }
        self._segments = {name: self._split(name) for name in self._order}
        self._counts: dict[tuple[int, frozenset[tuple[str, int]]], int] = {}

    @property
    def num_states(self) -> float:
        """An upper bound on the number of segment combinations that counting has to distinguish."""
        total = 0.0
        for position in range(len(self._order)):
            needed = [name for name in self._order[:position] if self._last_use.get(name, -1) >= position]
            total += prod(len(self._segments[name]) + 1.0 for name in needed)
        return total

    @property
    def size(self) -> int:
        """The number of configurations."""
        return self._count(0, {})

    def __contains__(self, values: object) -> bool:
        """Return whether `values` is one of the configurations."""
        if not isinstance(values, Mapping) or not values.keys() <= self._axes.keys():
            return False
        decided: dict[str, Value] = {}
        for name in self._order:
            if is_active(self._space[name], decided) != (name in values):
                return False
            if name in values:
                if index_of(self._axes[name], values[name]) is None:
                    return False
                decided[name] = values[name]
        return True

    def __getitem__(self, index: int) -> dict[str, Value]:
        """Return the configuration at `index`, from 0 to size - 1."""
        if not 0 <= index < self.size:
            raise IndexError(index)
        values: dict[str, Value] = {}
        known: dict[str, int] = {}
        for position, name in enumerate(self._order):
            if not self._exists(name, known):
                continue
            for at, segment in enumerate(self._segments[name]):
                each = self._count(position + 1, {**known, name: at})
                if index < segment.num * each:
                    offset, index = divmod(index, each)
                    values[name] = self._axes[name][segment.start + offset]
                    known[name] = at
                    break
                index -= segment.num * each
        return values

    def _count(self, position: int, known: Mapping[str, int]) -> int:
        """Count the ways to set the parameters from `position` on, given the segments chosen so far."""
        if position == len(self._order):
            return 1
        needed = {name: at for name, at in known.items() if self._last_use.get(name, -1) >= position}
        key = (position, frozenset(needed.items()))
        if key not in self._counts:
            name = self._order[position]
            if self._exists(name, needed):
                self._counts[key] = sum(
                    segment.num * self._count(position + 1, {**needed, name: at})
                    for at, segment in enumerate(self._segments[name])
                )
            else:
                self._counts[key] = self._count(position + 1, needed)
        return self._counts[key]

    def _exists(self, name: str, known: Mapping[str, int]) -> bool:
        return all(
            named in known and condition_met(condition, self._axes[named][self._segments[named][known[named]].start])
            for named, condition in (self._space[name].when or {}).items()
        )

    def _split(self, name: str) -> list[_Segment]:
        values = self._axes[name]
        whens = [parameter.when or {} for parameter in self._space.values()]
        cuts = {0, *(cut for when in whens if name in when for cut in _cuts(values, when[name]))} - {len(values)}
        starts = sorted(cuts)
        return [_Segment(start, end - start) for start, end in pairwise([*starts, len(values)])]


def _cuts(values: Sequence[Value], condition: Condition) -> Iterator[int]:
    """Yield the indices on an axis at which a condition starts or stops being met."""
    if isinstance(condition, Interval):
        # In a checked space only numeric parameters have interval conditions, and their axes ascend.
        yield 0 if condition.low is None else bisect_left(values, condition.low)
        yield len(values) if condition.high is None else bisect_right(values, condition.high)
        return
    for value in condition if isinstance(condition, list) else [condition]:
        at = index_of(values, value)
        if at is not None:
            yield at
            yield at + 1
