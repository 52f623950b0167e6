"""Configurations as points of the unit cube with a mask of active parameters, in arrays for the model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.contract.base import Value
from service.contract.space import (
    Condition,
    ConstantParameter,
    FloatParameter,
    IntParameter,
    NumericParameter,
    Parameter,
    Space,
)
from service.domain.parameter import values_of
from service.domain.space import condition_met, topological_order
from service.search.space.sampling import configuration
from service.search.space.transform import from_unit, is_unordered, log_edges, to_unit

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_INACTIVE = 0.5
"""Coordinate of an inactive parameter. No distance depends on it."""


@dataclass(frozen=True, slots=True)
class Points:
    """Configurations as points."""

    units: Floats
    """Shape (points, parameters): the position of each value in [0, 1], as `to_unit` defines it."""
    active: Mask
    """Shape (points, parameters): whether the parameter exists in the configuration."""

    def __len__(self) -> int:
        return len(self.units)

    def take(self, rows: Sequence[int] | NDArray[np.intp]) -> Points:
        """Return some of the points."""
        return Points(self.units[rows], self.active[rows])


def join(first: Points, second: Points) -> Points:
    """Return the points of both."""
    return Points(np.vstack([first.units, second.units]), np.vstack([first.active, second.active]))


class Encoding:
    """Converts configurations of a space to points and back. Constants are no coordinates.

    Attributes:
        names: the searched parameters, parents of conditions before their children.
        is_choice: shape (parameters,): whether the parameter is categorical without an order.
        num_values: shape (parameters,): the number of choices of such a parameter, else 0.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        order = topological_order(space)
        self.names = [name for name in order if not isinstance(space[name], ConstantParameter)]
        self._column = {name: at for at, name in enumerate(self.names)}
        searched = [space[name] for name in self.names]
        self.is_choice = np.array([is_unordered(each) for each in searched], bool)
        self.num_values = np.array([len(values_of(each) or ()) if is_unordered(each) else 0 for each in searched])
        self._order = order

    def __len__(self) -> int:
        return len(self.names)

    def points(self, configurations: Iterable[Mapping[str, Value]]) -> Points:
        """Return configurations as points; a parameter that a configuration lacks is inactive."""
        rows = list(configurations)
        units, active = np.full((len(rows), len(self)), _INACTIVE), np.zeros((len(rows), len(self)), bool)
        for row, parameters in enumerate(rows):
            for column, name in enumerate(self.names):
                if name in parameters:
                    units[row, column] = to_unit(self._space[name], parameters[name])
                    active[row, column] = True
        return Points(units, active)

    def nearest(self, units: Floats) -> Points:
        """Return the points that configurations can have, nearest to coordinates in [0, 1] of shape (points, …).

        Each coordinate moves to the one of its value, and a parameter whose condition is not met becomes inactive.
        """
        snapped, active = np.full(units.shape, _INACTIVE), np.ones(units.shape, bool)
        met: dict[str, Mask] = {}
        for name in self._order:
            parameter = self._space[name]
            exists = np.ones(len(units), bool)
            for parent, condition in (parameter.when or {}).items():
                exists &= met[parent] & self._meets(parent, condition, snapped)
            met[name] = exists
            if name in self._column:
                column = self._column[name]
                active[:, column] = exists
                snapped[exists, column] = _snapped(parameter, units[exists, column])
        return Points(snapped, active)

    def configuration(self, units: Floats) -> dict[str, Value]:
        """Return the configuration at coordinates of shape (parameters,)."""
        given = {name: float(units[column]) for name, column in self._column.items()}
        return configuration(self._space, {name: given.get(name, _INACTIVE) for name in self._space})

    def _meets(self, parent: str, condition: Condition, snapped: Floats) -> Mask:
        parameter = self._space[parent]
        if isinstance(parameter, ConstantParameter):
            return np.full(len(snapped), condition_met(condition, parameter.value))
        distinct, positions = np.unique(snapped[:, self._column[parent]], return_inverse=True)
        met = [condition_met(condition, from_unit(parameter, float(unit))) for unit in distinct]
        return np.array(met, bool)[positions]


def _snapped(parameter: Parameter, units: Floats) -> Floats:
    """Return the coordinates of the values at `units`, as `to_unit(from_unit(unit))` does for one of them."""
    if isinstance(parameter, NumericParameter) and parameter.log:
        return _snapped_on_log_scale(parameter, units)
    values = values_of(parameter)
    if values is None:
        return units
    num = len(values)
    return (np.minimum(np.floor(units * num), num - 1) + 0.5) / num


def _snapped_on_log_scale(parameter: NumericParameter, units: Floats) -> Floats:
    low, high = log_edges(parameter)
    if isinstance(parameter, IntParameter):
        numbers = np.clip(np.round(np.exp(low + units * (high - low))), parameter.low, parameter.high)
        return np.clip((np.log(numbers) - low) / (high - low), 0.0, 1.0)
    assert isinstance(parameter, FloatParameter)
    if not parameter.zero:
        return units
    zero, smallest = to_unit(parameter, 0.0), (math.log(parameter.low) - low) / (high - low)
    return np.where(units < smallest - 1e-12, zero, units)
