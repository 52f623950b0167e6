"""The centre of a search space, around which a preflight checks; the service and the worker find the same one."""

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


def centre_of(space: Space, base: Mapping[str, Any]) -> dict[str, Value]:
    """Return the configuration in the middle of a space.

    A range gives its middle, in the logarithm if it is declared so. Of choices the one that the base sets is taken,
    else the middle one of an ordered list, else the first: people write the usual one first.

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
            if all(other in centre and is_met(needed, centre[other]) for other, needed in conditions.items()):
                centre[name] = _middle(parameter, _value_at(base, name))
    return centre


def _middle(parameter: Parameter, base: Any) -> Value:
    """Return the middle of a range, on its own scale, or of choices the base's if it is one of them."""
    match parameter:
        case CategoricalParameter(choices=choices, ordered=is_ordered):
            same = [each for each in choices if each == base and isinstance(each, bool) == isinstance(base, bool)]
            return same[0] if same else choices[len(choices) // 2 if is_ordered else 0]
        case ConstantParameter(value=value):
            return value
        case FloatParameter() | IntParameter():
            low, high = float(parameter.low), float(parameter.high)
            # The product or the difference of the bounds may be too large for a float.
            middle = math.sqrt(low) * math.sqrt(high) if parameter.log else low / 2 + high / 2
            return on_grid(parameter, middle)


def on_grid(parameter: NumericParameter, value: float) -> float | int:
    """Return the nearest value of the parameter."""
    step = parameter.step
    if isinstance(parameter, IntParameter):
        most = (parameter.high - parameter.low) // parameter.step
        return parameter.low + min(most, round((value - parameter.low) / parameter.step)) * parameter.step
    if step is not None:
        steps = min(round((value - parameter.low) / step), math.floor((parameter.high - parameter.low) / step + 1e-9))
        return parameter.low + steps * step
    return float(f"{value:.4g}") if parameter.low <= float(f"{value:.4g}") <= parameter.high else value


def is_met(condition: Condition, value: Value) -> bool:
    """Return whether a value meets a condition."""
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
