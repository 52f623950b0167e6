"""Sampling of configurations: uniform on each parameter's scale, and unseen ones in a finite space."""

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
    """Convert a point of the unit cube to a configuration.

    Args:
        space: a checked space.
        units: parameter -> coordinate in [0, 1]. Coordinates of inactive parameters are ignored.
        fixed: values of parameters that always exist, used instead of their coordinates.
    """
    given = fixed or {}
    values: dict[str, Value] = {}
    for name in ordered(space):
        if is_active(space[name], values):
            values[name] = given[name] if name in given else from_unit(space[name], units[name])
    return values


def draw(space: Space, seed: int, *path: int | str, fixed: Mapping[str, Value] | None = None) -> dict[str, Value]:
    """Sample one configuration; the draw of a parameter does not depend on which other parameters exist."""
    chance = generator(seed, *path)
    return configuration(space, {name: chance.random() for name in sorted(space)}, fixed)


def sobol_draw(space: Space, index: int, seed: int) -> dict[str, Value]:
    """Return the configuration at point `index` of the scrambled Sobol sequence."""
    names = sorted(space)
    return configuration(space, dict(zip(names, scrambled(index, len(names), seed), strict=True)))


def new_draw(
    space: Space, trials: Sequence[TrialRecord], number: int, seed: int, first: dict[str, Value] | None = None
) -> tuple[dict[str, Value], int]:
    """Sample a configuration that none of `trials` has.

    After `_REDRAWS` draws of known configurations, it walks the configurations of the finite space in a shuffled order,
    which finds an unseen one after at most len(trials) steps. In an infinite space, and in one without any unseen
    configuration, it returns the first draw.

    Args:
        space: a checked space.
        trials: the trials so far.
        number: number of the new trial, which enters the seed.
        seed: the study's seed.
        first: the first draw, if the caller has one; otherwise a uniform one.

    Returns:
        The configuration, and the number of draws that were rejected before it.
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
    """Return a hashable key that is equal for equal configurations, whatever the order of their names."""
    return frozenset((name, _frozen(value), isinstance(value, bool)) for name, value in values.items())


def identities(configurations: Iterable[Mapping[str, Value]]) -> set[Hashable]:
    """Return the keys of all configurations."""
    return {identity(values) for values in configurations}


def _frozen(value: Value) -> Hashable:
    return tuple(value) if isinstance(value, list) else value
