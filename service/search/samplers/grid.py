"""The grid sampler: tries every cell of a grid once, in order or shuffled, without listing the cells."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from math import log10

from service.contract.base import Value
from service.contract.problem import FieldError
from service.contract.space import FloatParameter, NumericParameter, Parameter, Space
from service.contract.storable import MAX_INTEGER
from service.domain.finite_space import ConfigurationGrid
from service.domain.history import History, Suggestion, TrialRecord
from service.domain.parameter import values_of
from service.search.samplers.base import Sampler, before
from service.search.space.sampling import config_key, config_keys, permuted

_CELL, _GRID = "cell", "grid"
"""Names of the notes that hold a trial's cell and the grid that the cell belongs to."""

_ORDER, _PLACE = "order", "place"
"""Names of the notes that hold the order in which a trial was drawn (a seed, or None) and its position there."""


class GridSampler(Sampler):
    """Tries every cell once at any parallelism; the next cell is the one after all that were handed out.

    Cells that other trials have tried are skipped: those of the grid before an edit, and enqueued configurations.
    """

    def __init__(self, space: Space, *, shuffle: bool) -> None:
        self._cells = grid_cells(space)
        self._shuffle = shuffle
        self._name = _named(space)

    @property
    def size(self) -> int:
        """The number of cells."""
        return self._cells.size

    def suggest(self, history: History, number: int, seed: int) -> Suggestion:
        own, others = self._divided(before(history, number))
        tried, elsewhere = {trial.notes[_CELL] for trial in own}, config_keys(trial.parameters for trial in others)
        order = seed if self._shuffle else None
        place = max((trial.notes[_PLACE] + 1 for trial in own if trial.notes[_ORDER] == order), default=0)
        while (cell := self._cell(place, seed)) in tried or config_key(self._cells[cell]) in elsewhere:
            place += 1
        suffix = f", number {place + 1} in shuffled order" if self._shuffle else ""
        notes = {_CELL: cell, _GRID: self._name, _ORDER: order, _PLACE: place}
        return Suggestion(self._cells[cell], f"grid: cell {cell + 1} of {self.size}{suffix}", notes=notes)

    def remaining(self, history: History) -> int:
        own, others = self._divided(history.trials)
        elsewhere = config_keys(trial.parameters for trial in others if trial.parameters in self._cells)
        if elsewhere:
            elsewhere -= config_keys(trial.parameters for trial in own)
        return self.size - len(own) - len(elsewhere)

    def _cell(self, place: int, seed: int) -> int:
        return permuted(place, self.size, seed) if self._shuffle else place

    def _divided(self, trials: Sequence[TrialRecord]) -> tuple[list[TrialRecord], list[TrialRecord]]:
        """Split the trials into those of this grid and all others."""
        own: list[TrialRecord] = []
        others: list[TrialRecord] = []
        for trial in trials:
            (own if trial.notes.get(_GRID) == self._name else others).append(trial)
        return own, others


def check_grid(space: Space) -> list[FieldError]:
    """Check that a space can be listed as a grid, and that its cells can be numbered."""
    errors = []
    for name, parameter in space.items():
        if not isinstance(parameter, NumericParameter):
            continue
        values = values_of(parameter)
        if parameter.points is None and values is None:
            message = (
                f"a grid cannot list the continuous range [{parameter.low:g}, {parameter.high:g}]; "
                "write points: 5 (or another number), or a step"
            )
            errors.append(FieldError(path=f"space.{name}.points", message=message))
        elif parameter.points is not None and values is not None and parameter.points > len(values):
            message = f"{parameter.points} points, but the range has only {len(values)} values; drop points for all"
            errors.append(FieldError(path=f"space.{name}.points", message=message))
    if not errors and (size := GridSampler(space, shuffle=False).size) > MAX_INTEGER:
        message = (
            f"the grid has about 10^{int(log10(size))} cells, more than can be numbered (2^53); "
            "give its ranges fewer points, or write sampler: random"
        )
        errors.append(FieldError(path="space", message=message))
    return errors


def _named(space: Space) -> str:
    """Return a short hash that identifies the grid of a space."""
    kinds = "\n".join(f"{name} {space[name].model_dump_json()}" for name in sorted(space))
    return hashlib.sha256(kinds.encode()).hexdigest()[:12]


def grid_cells(space: Space) -> ConfigurationGrid:
    """Return the cells of a space that `check_grid` accepts."""
    return ConfigurationGrid(space, {name: grid_axis(parameter) for name, parameter in space.items()})


def grid_axis(parameter: Parameter) -> Sequence[Value]:
    """Return the values of one parameter that a grid tries: `points` of them if given, otherwise all.

    Points are evenly spaced from low to high, both included; in the logarithm if the parameter is log. If zero is a
    value, it is one more point.
    """
    if not isinstance(parameter, NumericParameter) or parameter.points is None:
        values = values_of(parameter)
        assert values is not None, "check_grid refuses a continuous range without points"
        return values
    spaced = [_point(parameter, index / (parameter.points - 1)) for index in range(parameter.points)]
    if isinstance(parameter, FloatParameter) and parameter.step is None:
        return [0.0, *spaced] if parameter.zero else spaced
    step = parameter.step or 1
    lattice = values_of(parameter)
    assert lattice is not None
    # Rounding may merge points of a log range, because the first whole numbers are further apart than the points.
    places = (min(round((value - parameter.low) / step), len(lattice) - 1) for value in spaced)
    return [lattice[at] for at in dict.fromkeys(places)]


def _point(parameter: NumericParameter, fraction: float) -> float:
    low, high = parameter.low, parameter.high
    if fraction in (0.0, 1.0):
        return float(high if fraction else low)
    value = low * (high / low) ** fraction if parameter.log else low + fraction * (high - low)
    return float(f"{value:.12g}")
