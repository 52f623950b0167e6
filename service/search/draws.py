"""Configurations by chance: uniform on each parameter's own scale; in a finite space, new ones while there are any."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

from service.contract.base import Value
from service.contract.space import Space
from service.domain.cells import cells
from service.domain.history import TrialRecord
from service.domain.space import is_active, ordered
from service.search.permutation import permuted
from service.search.scale import from_unit
from service.search.seeds import derive, generator
from service.search.sobol import scrambled

_REDRAWS = 20


def configuration(
    space: Space, units: Mapping[str, float], fixed: Mapping[str, Value] | None = None
) -> dict[str, Value]:
    """The configuration at a point of the unit cube; coordinates of parameters that do not exist there are left out.

    `fixed` are values of parameters that always exist, in the place of their coordinates.
    """
    given = fixed or {}
    values: dict[str, Value] = {}
    for name in ordered(space):
        if is_active(space[name], values):
            values[name] = given[name] if name in given else from_unit(space[name], units[name])
    return values


def draw(space: Space, seed: int, *path: int | str, fixed: Mapping[str, Value] | None = None) -> dict[str, Value]:
    """One configuration by chance; a parameter's draw does not depend on which of the others exist."""
    chance = generator(seed, *path)
    return configuration(space, {name: chance.random() for name in sorted(space)}, fixed)


def sobol_draw(space: Space, index: int, seed: int) -> dict[str, Value]:
    """The configuration at point `index` of Sobol's sequence."""
    names = sorted(space)
    return configuration(space, dict(zip(names, scrambled(index, len(names), seed), strict=True)))


def new_draw(
    space: Space, trials: Sequence[TrialRecord], number: int, seed: int, first: dict[str, Value] | None = None
) -> tuple[dict[str, Value], int]:
    """One configuration that none of `trials` has, and how many draws came before it; `first` is the first draw.

    Where a few draws find only known ones, the cells of the space are walked in a shuffled order, which meets a new
    one after at most len(trials) steps; a space with none left repeats itself.
    """
    first = draw(space, seed, number) if first is None else first
    finite = cells(space)
    if finite is None:
        return first, 0
    known = identities(trial.parameters for trial in trials)
    if identity(first) not in known:
        return first, 0
    for redraw in range(1, _REDRAWS):
        values = draw(space, seed, number, redraw)
        if identity(values) not in known:
            return values, redraw
    for step in range(min(len(known) + 1, finite.size)):
        values = finite[permuted(step, finite.size, derive(seed, number))]
        if identity(values) not in known:
            return values, _REDRAWS
    return first, 0


def identity(values: Mapping[str, Value]) -> Hashable:
    """A key under which equal configurations are equal, whatever the order of their names."""
    return frozenset((name, _frozen(value), isinstance(value, bool)) for name, value in values.items())


def identities(configurations: Iterable[Mapping[str, Value]]) -> set[Hashable]:
    """The keys of many configurations."""
    return {identity(values) for values in configurations}


def _frozen(value: Value) -> Hashable:
    return tuple(value) if isinstance(value, list) else value
