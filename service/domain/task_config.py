"""Configuration of a train task: checks it and the search space's paths, and applies a trial's parameters."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from service.contract.base import Value
from service.contract.catalogue import Catalogue, Entry, Setting
from service.contract.problem import FieldError
from service.contract.space import (
    CategoricalParameter,
    ConstantParameter,
    FloatParameter,
    NumericParameter,
    Parameter,
    Space,
)
from service.contract.validation_errors import MAX_MISTAKES, did_you_mean, quote
from service.domain.parameter import values_of
from service.domain.space import condition_met

_BATCH_SIZE = "batch_size"
_OWNERS = {"task.train": "the training core", "task.estimator": "an estimator"}
_TYPES: dict[str, tuple[str, tuple[type, ...]]] = {
    "float": ("a number", (int, float)),
    "int": ("a whole number", (int,)),
    "bool": ("true or false", (bool,)),
    "str": ("a text", (str,)),
}


def check_task(
    train: Mapping[str, Any], space: Space, catalogue: Catalogue, where: str = "task.train"
) -> list[FieldError]:
    """Check the base configuration: unknown sections, entries and options, wrong values, and missing settings.

    An option that the search space sets is not missing. Returns at most `MAX_MISTAKES` errors.

    Args:
        train: the base configuration of a train task or of an estimator.
        space: the search space.
        catalogue: what the task can be set to.
        where: the path of the configuration in the study file.
    """
    return list(islice(_task_errors(train, space, catalogue, where), MAX_MISTAKES))


def _task_errors(train: Mapping[str, Any], space: Space, catalogue: Catalogue, where: str) -> Iterator[FieldError]:
    for key, given in train.items():
        path = f"{where}.{key}"
        if key in catalogue.registries:
            yield from _check_section(path, key, catalogue.registries[key], given, space)
        elif key in catalogue.lists:
            yield from _check_list(path, key, catalogue.lists[key], given)
        elif (key, given) == (_BATCH_SIZE, "auto"):
            if _BATCH_SIZE in space:
                message = "auto chooses one batch size for all trials, but the space searches batch_size; remove one"
                yield FieldError(path=path, message=message)
        elif key in catalogue.settings:
            yield from _check_value(path, given, catalogue.settings[key])
        else:
            hint = did_you_mean(key, [*catalogue.registries, *catalogue.lists, *catalogue.settings])
            yield FieldError(path=path, message=f"{_OWNERS[where]} has no {quote(key)}; {hint}")
    for section, entries in catalogue.registries.items():
        if section not in train and section not in catalogue.defaults:
            message = f"missing; write {section}: {{name: …}}, one of: {', '.join(sorted(entries))}"
            yield FieldError(path=f"{where}.{section}", message=message)


def check_space_paths(
    train: Mapping[str, Any], space: Space, catalogue: Catalogue, where: str = "task.train"
) -> list[FieldError]:
    """Check that every key of the space sets an option of the task.

    An option that only some of the possible entries have needs a `when` condition on the entry's name. Returns at most
    `MAX_MISTAKES` errors.
    """
    reach = _PathChecker(train, space, catalogue, where)
    errors = (error for key, parameter in space.items() for error in reach.check(key, parameter))
    return list(islice(errors, MAX_MISTAKES))


def check_overrides(
    train: Mapping[str, Any], space: Space, overrides: Mapping[str, Value], catalogue: Catalogue
) -> list[FieldError]:
    """Check the overrides of a coarse-to-fine stage.

    An error is an override that sets no option, has an impossible value, sets what the space searches, or makes a
    parameter of the space ineffective.
    """
    errors = []
    for key in overrides:
        if key in space:
            errors.append(
                FieldError(
                    path=f"overrides.{key}",
                    message="is also a parameter of the space; write it under fixed, or remove one of the two",
                )
            )
        elif key == "epochs":
            message = "the length of a stage is its resource; write resource, and leave epochs out"
            errors.append(FieldError(path=f"overrides.{key}", message=message))
    fixed = {key: ConstantParameter(type="constant", value=value) for key, value in overrides.items()}
    for error in [] if errors else check_space_paths(train, {**space, **fixed}, catalogue):
        key = error.path.removeprefix("space.").removesuffix(".value")
        if key in overrides:
            errors.append(FieldError(path=f"overrides.{key}", message=error.message))
        elif error not in check_space_paths(train, space, catalogue):
            errors.append(FieldError(path="overrides", message=f"with these, {error.path} {error.message}"))
    return errors


def apply_parameters(
    train: Mapping[str, Any], parameters: Mapping[str, Value], catalogue: Catalogue
) -> tuple[dict[str, Any], list[str]]:
    """Apply a trial's parameters to the base configuration.

    When a parameter replaces the name of an entry, the base options that the new entry does not have are dropped.

    Returns:
        The configuration, and the dotted paths of the dropped options.
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


def _check_list(path: str, section: str, entries: Mapping[str, Entry], given: object) -> Iterator[FieldError]:
    if not isinstance(given, list):
        example = next(iter(entries))
        yield FieldError(path=path, message=f"must be a list, as in {section}: [{{name: {example}}}]")
        return
    names: list[object] = []
    for index, each in enumerate(given):
        # A text stands for an entry without options.
        entry = {"name": each} if isinstance(each, str) else each
        yield from _check_section(f"{path}[{index}]", section.removesuffix("s"), entries, entry, {})
        names.append(entry.get("name") if isinstance(entry, dict) else None)
        if section == "metrics" and names[-1] is not None and names[-1] in names[:-1]:
            message = f"{names[-1]} is listed twice; leave one of the two out"
            yield FieldError(path=f"{path}[{index}].name", message=message)


def _check_section(
    path: str, section: str, entries: Mapping[str, Entry], given: object, space: Space
) -> Iterator[FieldError]:
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        example = next(iter(entries))
        yield FieldError(path=path, message=f"needs a name, as in {path.rpartition('.')[2]}: {{name: {example}}}")
        return
    entry = entries.get(given["name"])
    if entry is None:
        yield FieldError(path=f"{path}.name", message=_unknown(section, given["name"], entries))
        return
    for option, value in given.items():
        if option == "name":
            continue
        if option not in entry.parameters:
            message = f"{given['name']} has no option {quote(option)}; {did_you_mean(option, entry.parameters)}"
            yield FieldError(path=f"{path}.{option}", message=message)
        else:
            yield from _check_value(f"{path}.{option}", value, entry.parameters[option])
    for option, setting in entry.parameters.items():
        if setting.required and option not in given and f"{section}.{option}" not in space:
            yield FieldError(path=f"{path}.{option}", message=f"missing: {setting.description}")


def _unknown(section: str, name: object, entries: Iterable[str]) -> str:
    hint = did_you_mean(str(name), entries)
    known = hint if hint.endswith("?") else f"{hint}."
    return (
        f"there is no {section} {quote(name)}; {known} For one of your own, start a worker with --register MODULE first"
    )


def _check_value(path: str, value: object, setting: Setting) -> Iterator[FieldError]:
    if value is None and setting.default is None and not setting.required:
        return
    kind = setting.type
    if kind.startswith("list["):
        if not isinstance(value, list):
            yield FieldError(path=path, message=f"must be a list, got {quote(value)}")
            return
        for index, item in enumerate(value):
            yield from _check_scalar(f"{path}[{index}]", item, kind[len("list[") : -1], setting)
    elif kind in _TYPES:
        yield from _check_scalar(path, value, kind, setting)


def _check_scalar(path: str, value: object, kind: str, setting: Setting) -> Iterator[FieldError]:
    expected, types = _TYPES[kind]
    if kind == "int" and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, types) or (isinstance(value, bool) and kind != "bool"):
        yield FieldError(path=path, message=f"must be {expected}, got {quote(value)}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        below = setting.low is not None and (value < setting.low or (setting.exclusive_low and value == setting.low))
        if below:
            sign = "above" if setting.exclusive_low else "at least"
            yield FieldError(path=path, message=f"must be {sign} {setting.low:g}, got {value:g}")
        elif setting.high is not None and value > setting.high:
            yield FieldError(path=path, message=f"must be at most {setting.high:g}, got {value:g}")
    elif setting.choices and value not in setting.choices:
        yield FieldError(
            path=path, message=f"unknown choice {quote(value)}; {did_you_mean(str(value), setting.choices)}"
        )


def _check_domain(path: str, parameter: Parameter, setting: Setting) -> Iterator[FieldError]:
    """Check every choice, or both ends of a range, against the option that the parameter sets."""
    if not isinstance(parameter, NumericParameter):
        for part, value in _fixed(parameter):
            yield from _check_value(f"{path}.{part}", value, setting)
        return
    if isinstance(parameter, FloatParameter) and setting.type == "int":
        yield FieldError(path=path, message="sets a whole number; write type: int")
        return
    if isinstance(parameter, FloatParameter) and parameter.zero:
        yield from _check_value(f"{path}.zero", 0.0, setting)
    yield from _check_value(f"{path}.low", parameter.low, setting)
    yield from _check_value(f"{path}.high", parameter.high, setting)


def _fixed(parameter: CategoricalParameter | ConstantParameter) -> Iterator[tuple[str, Value]]:
    """Yield (path within the parameter, value) for each value of a categorical or constant parameter."""
    if isinstance(parameter, ConstantParameter):
        yield "value", parameter.value
    else:
        yield from ((f"choices[{index}]", choice) for index, choice in enumerate(parameter.choices))


def _one_or_list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"[{', '.join(names)}]"


@dataclass(frozen=True)
class _PathChecker:
    """Checks which options of a train task the keys of a search space can set."""

    train: Mapping[str, Any]
    space: Space
    catalogue: Catalogue
    where: str

    def check(self, key: str, parameter: Parameter) -> Iterator[FieldError]:
        section, _, option = key.partition(".")
        path = f"space.{key}"
        if section in self.catalogue.registries and option == "name":
            yield from self._check_names(path, section, parameter)
        elif section in self.catalogue.registries and option:
            yield from self._check_option(path, section, option, parameter)
        elif key in self.catalogue.settings:
            yield from _check_domain(path, parameter, self.catalogue.settings[key])
        elif (listed := section.partition("[")[0]) in self.catalogue.lists:
            yield FieldError(path=path, message=f"has no effect: no parameter sets what is in {listed}")
        else:
            yield self._unknown_path(path, key)

    def _check_names(self, path: str, section: str, parameter: Parameter) -> Iterator[FieldError]:
        entries = self.catalogue.registries[section]
        if isinstance(parameter, NumericParameter):
            yield FieldError(path=path, message=f"must be categorical, with choices among {', '.join(sorted(entries))}")
            return
        for part, choice in _fixed(parameter):
            if choice not in entries:
                yield FieldError(path=f"{path}.{part}", message=_unknown(section, choice, entries))

    def _check_option(self, path: str, section: str, option: str, parameter: Parameter) -> Iterator[FieldError]:
        names = self._names(section)
        if section in self.train and not (names and set(names) <= set(self.catalogue.registries[section])):
            return  # The unknown name is reported elsewhere. Its options are unknown too, so report none as unused.
        possible = self._possible(section, parameter)
        having = {name: entry.parameters[option] for name, entry in possible.items() if option in entry.parameters}
        if not possible and section not in self.train:
            yield FieldError(path=path, message=f"has no effect: the task has no {section}; add {self.where}.{section}")
        elif not having:
            yield self._unknown_path(path, f"{section}.{option}")
        elif len(having) < len(possible):
            others = " or ".join(sorted(set(possible) - set(having)))
            names_with = _one_or_list(sorted(having))
            message = f"has no effect when {section}.name is {others}; add when: {{{section}.name: {names_with}}}"
            yield FieldError(path=path, message=message)
        else:
            # Report the errors of one entry only, because those of the other entries would be the same.
            for setting in having.values():
                problems = list(_check_domain(path, parameter, setting))
                if problems:
                    yield from problems
                    return

    def _possible(self, section: str, parameter: Parameter | None = None) -> dict[str, Entry]:
        """Return the known entries that a trial may choose in a section, under the condition of `parameter`."""
        entries = self.catalogue.registries[section]
        return {name: entries[name] for name in self._names(section, parameter) if name in entries}

    def _names(self, section: str, parameter: Parameter | None = None) -> list[str]:
        """Return the names that a trial may choose in a section, whether the catalogue has them or not."""
        chosen = self.space.get(f"{section}.name")
        base = self.train.get(section)
        if isinstance(chosen, CategoricalParameter | ConstantParameter):
            names = list(values_of(chosen) or ())
        else:
            names = [base["name"]] if isinstance(base, dict) and "name" in base else []
        when = (parameter.when or {}).get(f"{section}.name") if parameter is not None else None
        if when is not None:
            names = [name for name in names if condition_met(when, name)]
        return [name for name in names if isinstance(name, str)]

    def _unknown_path(self, path: str, key: str) -> FieldError:
        reachable = set(self.catalogue.settings)
        for section in self.catalogue.registries:
            reachable.add(f"{section}.name")
            for entry in self._possible(section).values():
                reachable |= {f"{section}.{option}" for option in entry.parameters}
        hint = did_you_mean(key, reachable)
        return FieldError(path=path, message=f"has no effect on the task; {self._where(key) or hint}")

    def _where(self, key: str) -> str | None:
        """Return a hint for an option that only some entries of a section have: its key, and the `when` it needs."""
        section, _, option = key.rpartition(".")
        sections = [section] if section in self.catalogue.registries else list(self.catalogue.registries)
        if section and section not in self.catalogue.registries:
            return None
        for each in sections:
            entries, possible = self.catalogue.registries[each], self._possible(each)
            having = sorted(name for name, entry in entries.items() if option in entry.parameters)
            if not having or (section and set(having) & set(possible)):
                continue
            chosen = [name for name in having if name in possible]
            if not section and len(chosen) == len(possible):
                return f"did you mean '{each}.{option}'?"
            when = f"when: {{{each}.name: {_one_or_list(chosen or having)}}}"
            if chosen:
                return f"write {each}.{option} with {when}"
            others = " or ".join(sorted(possible)) or "the task"
            return (
                f"{others} has no {option}: search {each}.name among {', '.join([*sorted(possible), *having])} and "
                f"write {each}.{option} with {when}, or leave it out"
            )
        return None
