"""Rules of a search space that span parameters: conditions, their order, and what a configuration must be."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from service.contract.base import Value
from service.contract.mistakes import did_you_mean
from service.contract.problem import FieldError
from service.contract.space import CategoricalParameter, FloatParameter, IntParameter, Parameter, Space


def same(value: object, other: object) -> bool:
    """Whether two values are one and the same setting: 1 and 1.0 are, 1 and True are not."""
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def accepted(parameter: Parameter, name: str) -> list[Value]:
    """The values of `name` under which `parameter` exists; empty where its condition does not name it."""
    value = (parameter.when or {}).get(name, [])
    return list(value) if isinstance(value, list) else [value]


def is_active(parameter: Parameter, values: Mapping[str, Value]) -> bool:
    """Whether `parameter` exists under `values`, which hold every active parameter its condition names."""
    return all(
        name in values and any(same(values[name], value) for value in accepted(parameter, name))
        for name in parameter.when or {}
    )


def fits(parameter: Parameter, value: object) -> bool:
    """Whether `value` is of the parameter's type, in its range and on its lattice."""
    if isinstance(parameter, CategoricalParameter):
        return any(same(choice, value) for choice in parameter.choices)
    if isinstance(value, bool) or not isinstance(value, int | float) or not parameter.low <= value <= parameter.high:
        return False
    if isinstance(parameter, IntParameter):
        return isinstance(value, int) and (value - parameter.low) % parameter.step == 0
    if parameter.step is None:
        return True
    cells = (value - parameter.low) / parameter.step
    return math.isclose(cells, round(cells), abs_tol=1e-6)


def ordered(space: Space) -> list[str]:
    """Names in an order in which every condition is decided before it is asked, the same for any order of the keys.

    A parameter stands as near as can be behind those its condition names. Names on a circle of conditions, or behind
    an unknown name, are left out: `check_space` reports them.
    """
    placed: dict[str, None] = {}

    def place(name: str) -> None:
        placed[name] = None
        for child in sorted(space):
            when = space[child].when or {}
            if child not in placed and name in when and all(parent in placed for parent in when):
                place(child)

    for name in sorted(space):
        if not space[name].when:
            place(name)
    return list(placed)


def check_space(space: Space) -> list[FieldError]:
    """What is wrong with the conditions: unknown names, values that never occur, circles."""
    errors = [
        FieldError(path=f"space.{name}.when", message=message)
        for name, parameter in space.items()
        for message in _condition_faults(space, parameter)
    ]
    unplaced = sorted(set(space) - set(ordered(space)))
    if not errors and unplaced:
        circle = _circle(space, unplaced)
        message = f"the conditions form a circle: {' -> '.join(circle)}; drop one of them"
        errors.append(FieldError(path=f"space.{circle[0]}.when", message=message))
    return errors


def check_parameters(space: Space, values: Mapping[str, object]) -> list[FieldError]:
    """What is wrong with a configuration for a checked space: unknown, missing, inactive or impossible values."""
    errors = [
        _fault(name, f"is no parameter of the space: {did_you_mean(name, space)}")
        for name in values
        if name not in space
    ]
    decided: dict[str, Value] = {}
    for name in ordered(space):
        parameter = space[name]
        if not is_active(parameter, decided):
            if name in values:
                errors.append(_fault(name, f"exists only when {_condition(parameter)}; leave it out"))
        elif name not in values:
            errors.append(_fault(name, f"is missing; give {_domain(parameter)}"))
        elif not fits(parameter, values[name]):
            errors.append(_fault(name, f"must be {_domain(parameter)}, got {values[name]!r}"))
        else:
            decided[name] = values[name]  # type: ignore[assignment]  # it fits, so it is a Value
    return errors


def _condition_faults(space: Space, parameter: Parameter) -> Iterator[str]:
    for name in parameter.when or {}:
        named = space.get(name)
        if named is None:
            yield f"names {name!r}, which is no parameter of the space: {did_you_mean(name, space)}"
        elif isinstance(named, FloatParameter):
            yield f"{name} is a float, which hardly ever equals a value; let the condition name a categorical or int"
        else:
            if not accepted(parameter, name):
                yield f"lists no value of {name}, so that the parameter would never exist; list one"
            for value in accepted(parameter, name):
                if not fits(named, value):
                    yield f"{name} is never {value!r}; {_remedy(named, value)}"


def _remedy(parameter: Parameter, value: Value) -> str:
    if isinstance(parameter, CategoricalParameter) and isinstance(value, str):
        return did_you_mean(value, (choice for choice in parameter.choices if isinstance(choice, str)))
    return f"it is {_domain(parameter)}"


def _circle(space: Space, unplaced: Iterable[str]) -> list[str]:
    waiting = set(unplaced)
    path = [min(waiting)]
    while (parent := min(waiting & set(space[path[-1]].when or {}))) not in path:
        path.append(parent)
    return [*path[path.index(parent) :], parent]


def _domain(parameter: Parameter) -> str:
    if isinstance(parameter, CategoricalParameter):
        return f"one of {', '.join(repr(choice) for choice in parameter.choices)}"
    kind = "a whole number" if isinstance(parameter, IntParameter) else "a number"
    lattice = f" in steps of {parameter.step:g}" if parameter.step not in (None, 1) else ""
    return f"{kind} in [{parameter.low:g}, {parameter.high:g}]{lattice}"


def _condition(parameter: Parameter) -> str:
    return " and ".join(
        f"{name} is {' or '.join(repr(value) for value in accepted(parameter, name))}" for name in parameter.when or {}
    )


def _fault(name: str, message: str) -> FieldError:
    return FieldError(path=f"parameters.{name}", message=message)
