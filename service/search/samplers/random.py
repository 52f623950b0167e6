"""Independent draws, uniform on each parameter's own scale; in a finite space, none twice while there is a new one."""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable, Mapping, Sequence

from service.contract.base import Value
from service.contract.space import Space
from service.domain.cells import cells
from service.domain.history import History, Suggestion, TrialRecord
from service.domain.space import is_active, ordered
from service.search.permutation import permuted
from service.search.samplers.base import Sampler, before
from service.search.scale import from_unit
from service.search.seeds import derive, generator

_REDRAWS = 20


class Random(Sampler):
    """Random search (Bergstra & Bengio 2012)."""

    def __init__(self, space: Space) -> None:
        self._space = space

    def suggest(self, history: History, number: int, seed: int) -> Suggestion:
        parameters, redraws = draw_new(self._space, before(history, number), number, seed)
        again = f", draw {redraws + 1} because earlier trials had those before" if redraws else ""
        return Suggestion(parameters, f"random: a uniform draw from the whole space{again}")


def draw(space: Space, chance: random.Random) -> dict[str, Value]:
    """One configuration; a parameter's draw does not depend on which of the others exist."""
    units = {name: chance.random() for name in sorted(space)}
    values: dict[str, Value] = {}
    for name in ordered(space):
        if is_active(space[name], values):
            values[name] = from_unit(space[name], units[name])
    return values


def draw_new(space: Space, trials: Sequence[TrialRecord], number: int, seed: int) -> tuple[dict[str, Value], int]:
    """One configuration that none of `trials` has, and how many draws came before it.

    Where a few draws find only known ones, the cells of the space are walked in a shuffled order, which meets a new
    one after at most len(trials) steps; a space with none left repeats itself.
    """
    first = draw(space, generator(seed, number))
    finite = cells(space)
    if finite is None:
        return first, 0
    known = identities(trial.parameters for trial in trials)
    if identity(first) not in known:
        return first, 0
    for redraw in range(1, _REDRAWS):
        values = draw(space, generator(seed, number, redraw))
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
