"""The train task's configuration: is it one the core knows, does every space key reach it, what becomes of a choice."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from service.contract.base import Value
from service.contract.catalogue import Catalogue, Entry, Setting
from service.contract.problem import FieldError
from service.contract.space import CategoricalParameter, Parameter, Space
from service.domain.errors import did_you_mean

_TYPES: dict[str, tuple[str, tuple[type, ...]]] = {
    "float": ("a number", (int, float)),
    "int": ("a whole number", (int,)),
    "bool": ("true or false", (bool,)),
    "str": ("a text", (str,)),
}


def check_task(train: Mapping[str, Any], catalogue: Catalogue) -> list[FieldError]:
    """Say what in the base configuration the core does not know."""
    errors: list[FieldError] = []
    for key, given in train.items():
        path = f"task.train.{key}"
        if key in catalogue.registries:
            errors += _check_section(path, key, given, catalogue)
        elif key in catalogue.settings:
            errors += _check_value(path, given, catalogue.settings[key])
        else:
            known = [*catalogue.registries, *catalogue.settings]
            errors.append(
                FieldError(path=path, message=f"the training core has no {key!r}; {did_you_mean(key, known)}")
            )
    return errors


def check_reach(train: Mapping[str, Any], space: Space, catalogue: Catalogue) -> list[FieldError]:
    """Say which space keys reach nothing, or reach it only under some choice without saying so with `when`."""
    errors: list[FieldError] = []
    for key, parameter in space.items():
        path = f"space.{key}"
        section, _, option = key.partition(".")
        if section in catalogue.registries and option == "name":
            errors += _check_names(path, section, parameter, catalogue)
        elif section in catalogue.registries and option:
            errors += _check_option(path, section, option, parameter, train, space, catalogue)
        elif key in catalogue.settings:
            errors += _check_domain(path, parameter, catalogue.settings[key])
        else:
            errors.append(_unreached(path, key, list(_reachable(train, space, catalogue))))
    return errors


def resolve(
    train: Mapping[str, Any], parameters: Mapping[str, Value], catalogue: Catalogue
) -> tuple[dict[str, Any], list[str]]:
    """Set the parameters in the base configuration.

    Where a sampled name replaces the base's, options that the new entry does not know are dropped.

    Returns:
        The configuration, and the dotted paths of what was dropped.
    """
    config: dict[str, Any] = copy.deepcopy(dict(train))
    dropped: list[str] = []
    for section, entries in catalogue.registries.items():
        name = parameters.get(f"{section}.name")
        base = config.get(section)
        if not isinstance(name, str) or not isinstance(base, dict) or name not in entries:
            continue
        unknown = [option for option in base if option != "name" and option not in entries[name].parameters]
        dropped += [f"{section}.{option}" for option in unknown]
        config[section] = {option: value for option, value in base.items() if option not in unknown}
    for key, value in parameters.items():
        *sections, option = key.split(".")
        target = config
        for section in sections:
            target = target.setdefault(section, {})
        target[option] = value
    return config, dropped


def _check_section(path: str, section: str, given: object, catalogue: Catalogue) -> Iterator[FieldError]:
    entries = catalogue.registries[section]
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        example = next(iter(entries))
        yield FieldError(path=path, message=f"needs a name, as in {section}: {{name: {example}}}")
        return
    entry = entries.get(given["name"])
    if entry is None:
        message = f"there is no {section} {given['name']!r}; {did_you_mean(given['name'], entries)}"
        yield FieldError(path=f"{path}.name", message=message)
        return
    for option, value in given.items():
        if option == "name":
            continue
        if option not in entry.parameters:
            message = f"{given['name']} has no option {option!r}; {did_you_mean(option, entry.parameters)}"
            yield FieldError(path=f"{path}.{option}", message=message)
        else:
            yield from _check_value(f"{path}.{option}", value, entry.parameters[option])


def _check_value(path: str, value: object, setting: Setting) -> Iterator[FieldError]:
    if value is None and setting.default is None and not setting.required:
        return
    kind = setting.type
    if kind.startswith("list["):
        if not isinstance(value, list):
            yield FieldError(path=path, message=f"must be a list, got {value!r}")
            return
        for index, item in enumerate(value):
            yield from _check_scalar(f"{path}[{index}]", item, kind[len("list[") : -1], setting)
    elif kind in _TYPES:
        yield from _check_scalar(path, value, kind, setting)


def _check_scalar(path: str, value: object, kind: str, setting: Setting) -> Iterator[FieldError]:
    said, types = _TYPES[kind]
    if kind == "int" and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, types) or (isinstance(value, bool) and kind != "bool"):
        yield FieldError(path=path, message=f"must be {said}, got {value!r}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        below = setting.low is not None and (value < setting.low or (setting.exclusive_low and value == setting.low))
        if below:
            sign = "above" if setting.exclusive_low else "at least"
            yield FieldError(path=path, message=f"must be {sign} {setting.low:g}, got {value:g}")
        elif setting.high is not None and value > setting.high:
            yield FieldError(path=path, message=f"must be at most {setting.high:g}, got {value:g}")
    elif setting.choices and value not in setting.choices:
        yield FieldError(path=path, message=f"unknown choice {value!r}; {did_you_mean(str(value), setting.choices)}")


def _check_domain(path: str, parameter: Parameter, setting: Setting) -> Iterator[FieldError]:
    """Check every choice, or both ends of a range, against the option that they would set."""
    if isinstance(parameter, CategoricalParameter):
        for index, choice in enumerate(parameter.choices):
            yield from _check_value(f"{path}.choices[{index}]", choice, setting)
        return
    if parameter.type == "float" and setting.type == "int":
        yield FieldError(path=path, message="sets a whole number; write type: int")
        return
    yield from _check_value(f"{path}.low", parameter.low, setting)
    yield from _check_value(f"{path}.high", parameter.high, setting)


def _check_names(path: str, section: str, parameter: Parameter, catalogue: Catalogue) -> Iterator[FieldError]:
    entries = catalogue.registries[section]
    if not isinstance(parameter, CategoricalParameter):
        yield FieldError(path=path, message=f"must be categorical, with choices among {', '.join(sorted(entries))}")
        return
    for index, choice in enumerate(parameter.choices):
        if choice not in entries:
            message = f"there is no {section} {choice!r}; {did_you_mean(str(choice), entries)}"
            yield FieldError(path=f"{path}.choices[{index}]", message=message)


def _check_option(
    path: str,
    section: str,
    option: str,
    parameter: Parameter,
    train: Mapping[str, Any],
    space: Space,
    catalogue: Catalogue,
) -> Iterator[FieldError]:
    possible = _possible_entries(section, train, space, catalogue)
    under_when = (parameter.when or {}).get(f"{section}.name")
    if under_when is not None:
        allowed = under_when if isinstance(under_when, list) else [under_when]
        possible = {name: entry for name, entry in possible.items() if name in allowed}
    knowing = {name: entry.parameters[option] for name, entry in possible.items() if option in entry.parameters}
    if not knowing:
        if not possible and section not in train:
            yield FieldError(path=path, message=f"reaches nothing: the task has no {section}; add task.train.{section}")
            return
        yield _unreached(path, f"{section}.{option}", list(_reachable(train, space, catalogue)))
    elif len(knowing) < len(possible):
        others = sorted(set(possible) - set(knowing))
        yield FieldError(
            path=path,
            message=f"reaches nothing when {section}.name is {' or '.join(others)}; "
            f"add when: {{{section}.name: {_yaml_list(sorted(knowing))}}}",
        )
    for setting in knowing.values():
        problems = list(_check_domain(path, parameter, setting))
        yield from problems
        if problems:
            return


def _possible_entries(section: str, train: Mapping[str, Any], space: Space, catalogue: Catalogue) -> dict[str, Entry]:
    entries = catalogue.registries[section]
    chosen = space.get(f"{section}.name")
    if isinstance(chosen, CategoricalParameter):
        names = [choice for choice in chosen.choices if isinstance(choice, str)]
    else:
        base = train.get(section)
        names = [base["name"]] if isinstance(base, dict) and isinstance(base.get("name"), str) else []
    return {name: entries[name] for name in names if name in entries}


def _reachable(train: Mapping[str, Any], space: Space, catalogue: Catalogue) -> Iterator[str]:
    yield from catalogue.settings
    for section in catalogue.registries:
        yield f"{section}.name"
        for entry in _possible_entries(section, train, space, catalogue).values():
            yield from (f"{section}.{option}" for option in entry.parameters)


def _unreached(path: str, key: str, reachable: list[str]) -> FieldError:
    return FieldError(path=path, message=f"reaches nothing in the task; {did_you_mean(key, reachable)}")


def _yaml_list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"[{', '.join(names)}]"
