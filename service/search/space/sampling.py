"""Random samples of a space, as pure functions of a study's seed and a trial's number."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

from service.contract.base import Value
from service.contract.space import Space
from service.domain.finite_space import configuration_grid
from service.domain.history import TrialRecord
from service.domain.space import is_active, topological_order
from service.search.seeds import derive, make_rng
from service.search.space.sobol import scrambled
from service.search.space.transform import from_unit

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
    for name in topological_order(space):
        if is_active(space[name], values):
            values[name] = given[name] if name in given else from_unit(space[name], units[name])
    return values


def sample(space: Space, seed: int, *path: int | str, fixed: Mapping[str, Value] | None = None) -> dict[str, Value]:
    """Sample one configuration; the draw of a parameter does not depend on which other parameters exist."""
    rng = make_rng(seed, *path)
    return configuration(space, {name: rng.random() for name in sorted(space)}, fixed)


def sobol_sample(space: Space, index: int, seed: int) -> dict[str, Value]:
    """Return the configuration at point `index` of the scrambled Sobol sequence."""
    names = sorted(space)
    return configuration(space, dict(zip(names, scrambled(index, len(names), seed), strict=True)))


def sample_unseen(
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
    first = sample(space, seed, number) if first is None else first
    finite = configuration_grid(space)
    if finite is None:
        return first, 0
    known = config_keys(trial.parameters for trial in trials)
    if config_key(first) not in known:
        return first, 0
    for redraw in range(1, _REDRAWS):
        values = sample(space, seed, number, redraw)
        if config_key(values) not in known:
            return values, redraw
    for step in range(min(len(known) + 1, finite.size)):
        values = finite[permuted(step, finite.size, derive(seed, number))]
        if config_key(values) not in known:
            return values, _REDRAWS
    return first, 0


def config_key(values: Mapping[str, Value]) -> Hashable:
    """Return a hashable key that is equal for equal configurations, whatever the order of their names."""
    return frozenset((name, _frozen(value), isinstance(value, bool)) for name, value in values.items())


def config_keys(configurations: Iterable[Mapping[str, Value]]) -> set[Hashable]:
    """Return the keys of all configurations."""
    return {config_key(values) for values in configurations}


def _frozen(value: Value) -> Hashable:
    return tuple(value) if isinstance(value, list) else value


_ROUNDS = 4


def permuted(index: int, size: int, seed: int) -> int:
    """Return the image of `index` under a seeded bijection on range(size).

    A Feistel network permutes the smallest range of an even number of bits that contains range(size). It is applied
    again until the result lies in range(size) (cycle walking; Black & Rogaway 2002, "Ciphers with arbitrary finite
    domains"), less than four times on average.
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    while True:
        left, right = index >> half, index & mask
        for turn in range(_ROUNDS):
            left, right = right, left ^ (_mix(right, half, seed, turn) & mask)
        index = left << half | right
        if index < size:
            return index


def _mix(value: int, half: int, seed: int, turn: int) -> int:
    """Return pseudo-random bits. A half wider than the 31 bits of one derived seed combines several."""
    return sum(derive(seed, turn, value, part) << (31 * part) for part in range(half // 31 + 1))
