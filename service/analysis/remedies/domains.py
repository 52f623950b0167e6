"""Parameters of the space for remedies: new domains, the nearest possible value, and a range widened to a value."""

from __future__ import annotations

import math
from typing import Any

from pydantic import TypeAdapter

from service.contract.base import Value
from service.contract.space import (
    CategoricalParameter,
    ConstantParameter,
    FloatParameter,
    IntParameter,
    Parameter,
)
from service.domain.parameter import contains, same_value

Domain = dict[str, Any]
"""A parameter of the space as a study file writes it."""

_PARAMETER: TypeAdapter[Parameter] = TypeAdapter(Parameter)


def log_range(low: float, high: float, *, zero: bool = False) -> Domain:
    """Return a range of numbers on a log scale."""
    domain: Domain = {"type": "float", "low": rounded(low), "high": rounded(high), "log": True}
    return {**domain, "zero": True} if zero else domain


def one_of(*values: Value) -> Domain:
    """Return a parameter with these choices, without repetitions."""
    kept: list[Value] = []
    for value in values:
        if not any(same_value(value, each) for each in kept):
            kept.append(value)
    return {"type": "categorical", "choices": kept}


def rounded(value: float) -> float:
    """Round to two significant digits, as a person would write the number."""
    return float(f"{value:.2g}")


def parse(domain: Domain) -> Parameter:
    """Return the parameter that a domain describes."""
    return _PARAMETER.validate_python(domain)


def nearest_value(parameter: Parameter, present: Value | None, value: Value) -> Value | None:
    """Return the value of a searched parameter that is nearest to a wanted one; None: none is on the way to it."""
    if contains(parameter, value):
        return value
    if isinstance(parameter, ConstantParameter) or isinstance(value, bool | str | list):
        return None
    if isinstance(parameter, CategoricalParameter):
        return _nearest_choice(parameter, present, value)
    nearest: float = min(max(value, parameter.low), parameter.high)
    if parameter.step not in (None, 1):
        nearest = parameter.low + round((nearest - parameter.low) / parameter.step) * parameter.step
    if isinstance(parameter, IntParameter):
        nearest = round(nearest)
    if not isinstance(present, int | float) or not contains(parameter, nearest):
        return None
    return nearest if _is_on_the_way(present, nearest, value) else None


def _is_on_the_way(present: float, nearest: float, wanted: float) -> bool:
    """Return whether a value is at least half of the way from the present value to the wanted one, by its logarithm."""
    if min(present, nearest, wanted) <= 0:
        return abs(nearest - present) * 2 >= abs(wanted - present) > 0
    asked, reached = math.log(wanted / present), math.log(nearest / present)
    return asked * reached > 0 and abs(reached) * 2 >= abs(asked)


def _nearest_choice(parameter: CategoricalParameter, present: Value | None, value: float) -> Value | None:
    numbers = [each for each in parameter.choices if isinstance(each, int | float) and not isinstance(each, bool)]
    if not isinstance(present, int | float) or isinstance(present, bool):
        return None
    fitting = [each for each in numbers if _is_on_the_way(present, each, value)]
    return min(fitting, key=lambda each: abs(each - value), default=None)


def with_value(parameter: Parameter, value: Value) -> tuple[Domain, Parameter] | None:
    """Return the change by which a searched parameter includes a value, and the changed parameter."""
    changes: Domain
    if isinstance(parameter, CategoricalParameter):
        changes = {"choices": [*parameter.choices, value]}
    elif isinstance(parameter, FloatParameter | IntParameter) and isinstance(value, int | float):
        if parameter.step not in (None, 1) or isinstance(value, bool):
            return None
        if isinstance(parameter, FloatParameter) and parameter.log and value == 0:
            changes = {"zero": True}
        else:
            changes = {"low": value} if value < parameter.low else {"high": value}
    else:
        return None
    try:
        edited = type(parameter).model_validate({**parameter.model_dump(exclude_none=True), **changes})
    except ValueError:
        return None
    return (changes, edited) if contains(edited, value) else None


def default_value(parameter: Parameter, present: Any) -> Value:
    """Return the present value of an option if the parameter can have it, else the middle of its range."""
    if present is not None and contains(parameter, present):
        return present  # type: ignore[no-any-return]
    if isinstance(parameter, ConstantParameter):
        return parameter.value
    if isinstance(parameter, CategoricalParameter):
        return parameter.choices[0]
    if isinstance(parameter, IntParameter):
        middle = math.sqrt(parameter.low * parameter.high) if parameter.log else (parameter.low + parameter.high) / 2
        return parameter.low + round((middle - parameter.low) / parameter.step) * parameter.step
    if parameter.step is not None:
        return float(parameter.low)
    return float(math.sqrt(parameter.low * parameter.high) if parameter.log else (parameter.low + parameter.high) / 2)
