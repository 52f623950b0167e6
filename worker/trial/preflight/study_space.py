"""Turns the search space of a study into the values that a preflight tries: the centre and the extremes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.contract.base import Value
from service.contract.space import (
    CategoricalParameter,
    Condition,
    ConstantParameter,
    FloatParameter,
    Interval,
    IntParameter,
    Parameter,
    Space,
)
from service.contract.space_centre import centre_of, is_met, on_grid
from worker.training.preflight import SearchedParameter, SearchSpace


def search_space_of(space: Space, base: Mapping[str, Any]) -> SearchSpace:
    """Return the space of a study as the preflight needs it.

    Args:
        space: the checked space of a study.
        base: the mapping of `task.train`, or empty for a task of the user's own code.
    """
    centre = centre_of(space, base)
    parameters = {name: SearchedParameter(_values(each), _requirements(name, space)) for name, each in space.items()}
    return SearchSpace(base, centre, parameters)


def _values(parameter: Parameter) -> list[Value]:
    match parameter:
        case CategoricalParameter(choices=choices):
            return list(choices)
        case ConstantParameter(value=value):
            return [value]
        case FloatParameter(low=low, high=high, zero=zero):
            return [*([0.0] if zero else []), low, on_grid(parameter, high)]
        case IntParameter(low=low, high=high):
            return [low, on_grid(parameter, high)]


def _requirements(name: str, space: Space) -> dict[str, Value]:
    """Return values of other parameters under which a parameter exists, conditions of conditions included."""
    needed: dict[str, Value] = {}
    for other, condition in (space[name].when or {}).items():
        needed |= {**_requirements(other, space), other: _meeting(condition, space[other])}
    return needed


def _meeting(condition: Condition, parameter: Parameter) -> Value:
    """Return a value of a parameter that meets a condition."""
    if isinstance(condition, Interval):
        if isinstance(parameter, FloatParameter | IntParameter):
            low = parameter.low if condition.low is None else max(parameter.low, condition.low)
            high = parameter.high if condition.high is None else min(parameter.high, condition.high)
            value = on_grid(parameter, low + (high - low) / 2)
            return value if low <= value <= high else low
        return next((value for value in _values(parameter) if is_met(condition, value)), _values(parameter)[0])
    return condition[0] if isinstance(condition, list) else condition
