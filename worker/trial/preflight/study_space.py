"""Turns the search space of a study into the values that a preflight tries: the centre and the extremes."""

from __future__ import annotations

import math
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
    NumericParameter,
    Parameter,
    Space,
)
from worker.training.preflight import SearchedParameter, SearchSpace


def search_space_of(space: Space, base: Mapping[str, Any]) -> SearchSpace:
    """Return the space of a study as the preflight needs it.

    Args:
        space: the checked space of a study.
        base: the mapping of `task.train`, or empty for a task of the user's own code.
    """
    centre: dict[str, Value] = {}
    left = dict(space)
    while ready := [name for name, each in left.items() if not set(each.when or {}) & set(left)]:
        for name in ready:
            parameter = left.pop(name)
            conditions = parameter.when or {}
            if all(other in centre and _is_met(needed, centre[other]) for other, needed in conditions.items()):
                centre[name] = _centre(parameter, _value_at(base, name))
    parameters = {name: SearchedParameter(_values(each), _requirements(name, space)) for name, each in space.items()}
    return SearchSpace(base, centre, parameters)


def _centre(parameter: Parameter, base: Any) -> Value:
    """Return the middle of a range, on its own scale, or the base's choice if it is one of those searched."""
    match parameter:
        case CategoricalParameter(choices=choices):
            return base if base in choices else choices[0]
        case ConstantParameter(value=value):
            return value
        case FloatParameter() | IntParameter():
            low, high = float(parameter.low), float(parameter.high)
            middle = math.sqrt(low * high) if parameter.log else low + (high - low) / 2
            return _on_grid(parameter, middle)


def _on_grid(parameter: NumericParameter, value: float) -> float | int:
    """Return the nearest value of the parameter."""
    step = parameter.step
    if isinstance(parameter, IntParameter):
        most = (parameter.high - parameter.low) // parameter.step
        return parameter.low + min(most, round((value - parameter.low) / parameter.step)) * parameter.step
    if step is not None:
        steps = min(round((value - parameter.low) / step), math.floor((parameter.high - parameter.low) / step + 1e-9))
        return parameter.low + steps * step
    return float(f"{value:.4g}") if parameter.low <= float(f"{value:.4g}") <= parameter.high else value


def _values(parameter: Parameter) -> list[Value]:
    match parameter:
        case CategoricalParameter(choices=choices):
            return list(choices)
        case ConstantParameter(value=value):
            return [value]
        case FloatParameter(low=low, high=high, zero=zero):
            return [*([0.0] if zero else []), low, _on_grid(parameter, high)]
        case IntParameter(low=low, high=high):
            return [low, _on_grid(parameter, high)]


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
            value = _on_grid(parameter, low + (high - low) / 2)
            return value if low <= value <= high else low
        return next((value for value in _values(parameter) if _is_met(condition, value)), _values(parameter)[0])
    return condition[0] if isinstance(condition, list) else condition


def _is_met(condition: Condition, value: Value) -> bool:
    if isinstance(condition, Interval):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        low, high = condition.low, condition.high
        return (low is None or value >= low) and (high is None or value <= high)
    listed = condition if isinstance(condition, list) else [condition]
    return any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in listed)


def _value_at(base: Mapping[str, Any], path: str) -> Any:
    """Return what a mapping holds at a dotted path; None: nothing."""
    found: Any = base
    for part in path.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found
