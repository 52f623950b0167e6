"""The configurations of a finite space, by number: counted and looked up by arithmetic, never listed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import overload

from service.contract.base import Value
from service.contract.space import CategoricalParameter, IntParameter, Parameter, Space
from service.domain.space import accepted, ordered, same


@dataclass(frozen=True, slots=True)
class Lattice(Sequence[float]):
    """`num` numbers from `low` in steps of `step`, computed when asked for."""

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
        # 15 digits, so that 0.1 + 2 * 0.1 is 0.3 as the study file would write it.
        return float(f"{self.low + places * self.step:.15g}")


def axis(parameter: Parameter) -> Sequence[Value] | None:
    """Every value of a parameter in order; none where it is continuous."""
    if isinstance(parameter, CategoricalParameter):
        return parameter.choices
    if isinstance(parameter, IntParameter):
        return range(parameter.low, parameter.high + 1, parameter.step)
    if parameter.step is None:
        return None
    num = math.floor((parameter.high - parameter.low) / parameter.step + 1e-6) + 1
    return Lattice(parameter.low, parameter.step, num)


def cells(space: Space) -> Cells | None:
    """The configurations of a checked space; none where a parameter is continuous."""
    axes = {name: values for name, parameter in space.items() if (values := axis(parameter)) is not None}
    return Cells(space, axes) if axes.keys() == space.keys() else None


def size(space: Space) -> int | None:
    """How many configurations a checked space has; none: infinitely many."""
    finite = cells(space)
    return None if finite is None else finite.size


@dataclass(frozen=True, slots=True)
class _Segment:
    """Neighbouring values of one parameter that are all alike to the conditions of the others."""

    start: int
    num: int
    value: object


_UNNAMED = object()
"""Stands for values that no condition names."""


class Cells:
    """Distinct configurations of a space over the given axes, numbered lexicographically; the last name varies fastest.

    Values that no condition tells apart are counted together, so that cost follows the conditions and not the size.
    """

    def __init__(self, space: Space, axes: Mapping[str, Sequence[Value]]) -> None:
        self._space = space
        self._axes = axes
        self._order = ordered(space)
        self._last_use = {
            named: position for position, name in enumerate(self._order) for named in space[name].when or {}
        }
        self._segments = {name: self._split(name) for name in self._order}
        self._counts: dict[tuple[int, frozenset[tuple[str, int]]], int] = {}

    @property
    def size(self) -> int:
        """How many configurations there are."""
        return self._count(0, {})

    def __getitem__(self, index: int) -> dict[str, Value]:
        """Look up configuration `index` of 0 ... size - 1."""
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
        """How many ways there are to set the parameters from `position` on, given the segments chosen so far."""
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
        parameter = self._space[name]
        return all(
            named in known
            and any(same(self._segments[named][known[named]].value, value) for value in accepted(parameter, named))
            for named in parameter.when or {}
        )

    def _split(self, name: str) -> list[_Segment]:
        values = self._axes[name]
        named = [value for parameter in self._space.values() for value in accepted(parameter, name)]
        found = sorted({at for value in named if (at := _index(values, value)) is not None})
        segments: list[_Segment] = []
        start = 0
        for at in found:
            if at > start:
                segments.append(_Segment(start, at - start, _UNNAMED))
            segments.append(_Segment(at, 1, values[at]))
            start = at + 1
        if start < len(values):
            segments.append(_Segment(start, len(values) - start, _UNNAMED))
        return segments


def _index(values: Sequence[Value], value: Value) -> int | None:
    if isinstance(values, range):
        return values.index(value) if isinstance(value, int) and value in values else None
    return next((at for at, candidate in enumerate(values) if same(candidate, value)), None)
