"""Every cell of the grid, once: trial number -> cell by arithmetic, in order or shuffled."""

from __future__ import annotations

from collections.abc import Sequence

from service.contract.base import Value
from service.contract.problem import FieldError
from service.contract.space import FloatParameter, NumericParameter, Parameter, Space
from service.domain.cells import Cells
from service.domain.history import History, Suggestion
from service.domain.parameter import axis
from service.search.permutation import permuted
from service.search.samplers.base import Sampler, before

_CELL = "cell"
"""The note that tells a cell of the grid from a configuration that a person enqueued."""


class Grid(Sampler):
    """Every cell once, whatever the parallelism: the next cell is the one after all that were handed out."""

    def __init__(self, space: Space, *, shuffle: bool) -> None:
        self._cells = Cells(space, {name: grid_axis(parameter) for name, parameter in space.items()})
        self._shuffle = shuffle

    @property
    def size(self) -> int:
        """How many cells the grid has."""
        return self._cells.size

    def suggest(self, history: History, number: int, seed: int) -> Suggestion:
        place = sum(_CELL in trial.notes for trial in before(history, number))
        cell = permuted(place, self.size, seed) if self._shuffle else place
        order = f", number {place + 1} in shuffled order" if self._shuffle else ""
        return Suggestion(self._cells[cell], f"grid: cell {cell + 1} of {self.size}{order}", notes={_CELL: cell})

    def remaining(self, history: History) -> int:
        return self.size - sum(_CELL in trial.notes for trial in history)


def check_grid(space: Space) -> list[FieldError]:
    """What keeps a checked space from being a grid."""
    errors = []
    for name, parameter in space.items():
        if not isinstance(parameter, NumericParameter):
            continue
        values = axis(parameter)
        if parameter.points is None and values is None:
            message = (
                f"a grid cannot list the continuous range [{parameter.low:g}, {parameter.high:g}]; "
                "write points: 5 (or another number), or a step"
            )
            errors.append(FieldError(path=f"space.{name}.points", message=message))
        elif parameter.points is not None and values is not None and parameter.points > len(values):
            message = f"{parameter.points} points, but the range has only {len(values)} values; drop points for all"
            errors.append(FieldError(path=f"space.{name}.points", message=message))
    return errors


def grid_axis(parameter: Parameter) -> Sequence[Value]:
    """The values that a grid tries of one parameter, ascending: `points` of them where that is given, otherwise all.

    Points are evenly spaced between low and high, both included; on the logarithm where the parameter is log. Zero,
    where it is a value, comes on top.
    """
    if not isinstance(parameter, NumericParameter) or parameter.points is None:
        values = axis(parameter)
        assert values is not None, "check_grid refuses a continuous range without points"
        return values
    spaced = [_point(parameter, index / (parameter.points - 1)) for index in range(parameter.points)]
    if isinstance(parameter, FloatParameter) and parameter.step is None:
        return [0.0, *spaced] if parameter.zero else spaced
    step = parameter.step or 1
    lattice = axis(parameter)
    assert lattice is not None
    # Rounding may join neighbours of a log range: the first few whole numbers are further apart than the points.
    places = (min(round((value - parameter.low) / step), len(lattice) - 1) for value in spaced)
    return [lattice[at] for at in dict.fromkeys(places)]


def _point(parameter: NumericParameter, fraction: float) -> float:
    low, high = parameter.low, parameter.high
    if fraction in (0.0, 1.0):
        return float(high if fraction else low)
    value = low * (high / low) ** fraction if parameter.log else low + fraction * (high - low)
    return float(f"{value:.12g}")
