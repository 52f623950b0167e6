"""Search space rules that involve several parameters: conditions, their order, and checks of configurations."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from service.contract.base import Scalar, Value
from service.contract.problem import FieldError
from service.contract.space import (
    CategoricalParameter,
    Condition,
    ConstantParameter,
    FloatParameter,
    Interval,
    NumericParameter,
    Parameter,
    Space,
)
from service.contract.validation_errors import MAX_MISTAKES, did_you_mean, quote
from service.domain.parameter import contains, describe_domain, same_value, values_of


def condition_met(condition: Condition, value: Value) -> bool:
    """Return whether the value of a parameter meets a condition on that parameter."""
    if isinstance(condition, Interval):
        return (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and (condition.low is None or value >= condition.low)
            and (condition.high is None or value <= condition.high)
        )
    return any(same_value(value, each) for each in _listed(condition))


def is_active(parameter: Parameter, values: Mapping[str, Value]) -> bool:
    """Return whether the condition of `parameter` is met.

    `values` must contain every active parameter that the condition names.
    """
    return all(
        name in values and condition_met(condition, values[name]) for name, condition in (parameter.when or {}).items()
    )


def topological_order(space: Space) -> list[str]:
    """Return the parameter names in topological order: each after the parameters that its condition names.

    The order is the same for any order of the keys. A parameter follows those its condition names as closely as
    possible. Names in a cycle of conditions, and names that depend on an unknown name, are left out; `check_space`
    reports them.
    """
    children: dict[str, list[str]] = {}
    for name in sorted(space, reverse=True):
        for parent in space[name].when or {}:
            children.setdefault(parent, []).append(name)
    placed: dict[str, None] = {}
    # A stack: the next name is at the end. After a name come its children, and only then its siblings.
    ahead = sorted((name for name in space if not space[name].when), reverse=True)
    while ahead:
        name = ahead.pop()
        if name not in placed and all(parent in placed for parent in space[name].when or {}):
            placed[name] = None
            ahead += children.get(name, [])
    return list(placed)


def check_space(space: Space) -> list[FieldError]:
    """Check the conditions of a space: unknown names, values that never occur, and cycles."""
    faults = (
        FieldError(path=f"space.{name}.when", message=message)
        for name, parameter in space.items()
        for message in _condition_faults(space, parameter)
    )
    errors = list(islice(faults, MAX_MISTAKES))
    unplaced = sorted(set(space) - set(topological_order(space)))
    if not errors and unplaced:
        circle = _find_cycle(space, unplaced)
        message = f"the conditions form a cycle: {' -> '.join(circle)}; drop one of them"
        errors.append(FieldError(path=f"space.{circle[0]}.when", message=message))
    return errors


def check_parameters(space: Space, values: Mapping[str, object]) -> list[FieldError]:
    """Check a configuration against a checked space: unknown, missing, inactive and impossible values."""
    unknown = (name for name in values if name not in space)
    errors = [
        _fault(name, f"is no parameter of the space: {did_you_mean(name, space)}")
        for name in islice(unknown, MAX_MISTAKES)
    ]
    decided: dict[str, Value] = {}
    for name in topological_order(space):
        parameter = space[name]
        if not is_active(parameter, decided):
            if name in values:
                errors.append(_fault(name, f"exists only when {_condition(parameter)}; leave it out"))
        elif name not in values:
            errors.append(_fault(name, f"is missing; give {describe_domain(parameter)}"))
        elif not contains(parameter, values[name]):
            errors.append(_fault(name, f"must be {describe_domain(parameter)}, got {quote(values[name])}"))
        else:
            decided[name] = values[name]  # type: ignore[assignment]  # it fits, so it is a Value
    return errors


def _condition_faults(space: Space, parameter: Parameter) -> Iterator[str]:
    for name, condition in (parameter.when or {}).items():
        named = space.get(name)
        if named is None:
            yield f"names {quote(name)}, which is no parameter of the space: {did_you_mean(name, space)}"
        elif isinstance(condition, Interval):
            yield from _range_faults(name, named, condition)
        elif isinstance(named, FloatParameter):
            yield (
                f"{name} is a float, which almost never equals an exact value; write a range, "
                f"as in {{{name}: {{low: 0.5}}}}"
            )
        else:
            if not _listed(condition):
                yield f"lists no value of {name}, so that the parameter would never exist; list one"
            for value in _listed(condition):
                if not contains(named, value):
                    yield f"{name} is never {quote(value)}; {_remedy(named, value)}"


def _range_faults(name: str, named: Parameter, condition: Interval) -> Iterator[str]:
    if isinstance(named, CategoricalParameter | ConstantParameter):
        choices = ", ".join(str(choice) for choice in values_of(named) or ())
        yield f"{name} is {named.type} and has no range; list its values, some of: [{choices}]"
    elif not _meets(named, condition):
        yield f"{name} is never {_describe_condition(condition)}; it is {describe_domain(named)}"


def _meets(named: NumericParameter, condition: Interval) -> bool:
    """Return whether some value of a numeric parameter lies in the interval."""
    values = values_of(named)
    if values is not None:
        at = 0 if condition.low is None else bisect_left(values, condition.low)
        return at < len(values) and condition_met(condition, values[at])
    is_zero_in = isinstance(named, FloatParameter) and named.zero and condition_met(condition, 0.0)
    low = named.low if condition.low is None else max(named.low, condition.low)
    return is_zero_in or (low <= named.high and condition_met(condition, low))


def _listed(condition: Scalar | list[Scalar]) -> list[Scalar]:
    return condition if isinstance(condition, list) else [condition]


def _describe_condition(condition: Condition) -> str:
    if not isinstance(condition, Interval):
        return " or ".join(repr(value) for value in _listed(condition))
    if condition.low is None:
        return f"at most {condition.high:g}"
    if condition.high is None:
        return f"at least {condition.low:g}"
    return f"in [{condition.low:g}, {condition.high:g}]"


def _remedy(parameter: Parameter, value: Value) -> str:
    if isinstance(parameter, CategoricalParameter) and isinstance(value, str):
        return did_you_mean(value, (choice for choice in parameter.choices if isinstance(choice, str)))
    return f"it is {describe_domain(parameter)}"


def _find_cycle(space: Space, unplaced: Iterable[str]) -> list[str]:
    waiting = set(unplaced)
    path = [min(waiting)]
    while (parent := min(waiting & set(space[path[-1]].when or {}))) not in path:
        path.append(parent)
    return [*path[path.index(parent) :], parent]


def _condition(parameter: Parameter) -> str:
    return " and ".join(
        f"{name} is {_describe_condition(condition)}" for name, condition in (parameter.when or {}).items()
    )


def _fault(name: str, message: str) -> FieldError:
    return FieldError(path=f"parameters.{name}", message=message)
