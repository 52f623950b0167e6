"""Declared parameters of registry entries and settings: type, bounds and default, and the validation of values."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from worker.training.errors import ConfigError, did_you_mean

Names: TypeAlias = Literal["path", "path or id"]
"""What a text names on the disk of the machine that trains: a path, or a path if it exists and otherwise a hub ID."""

REQUIRED: Any = inspect.Parameter.empty

_ARTICLES = {
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "str": "a text",
    "list[int]": "a list of whole numbers",
    "list[float]": "a list of numbers",
    "list[str]": "a list of texts",
}


@dataclass(frozen=True)
class Setting:
    """Description and bounds of a parameter: `Annotated[float, Setting("learning rate", low=0.0)]`.

    Attributes:
        description: one phrase for the catalogue and the docs.
        low: the lowest value allowed, inclusive unless `exclusive_low`; None: no bound.
        high: the highest value allowed, inclusive; None: no bound.
        exclusive_low: whether `low` itself is not allowed.
        names: set for a text that is a path of a file or folder to use, so that a worker can refuse to read it.
    """

    description: str
    low: float | None = None
    high: float | None = None
    exclusive_low: bool = False
    names: Names | None = None


@dataclass(frozen=True)
class Parameter:
    """One declared parameter. Bounds hold for each element of a list, and None is allowed where it is the default.

    Attributes:
        name: the setting's name.
        type: `float`, `int`, `bool`, `str`, `list[int]`, `list[float]`, `list[str]`, or `any` (not checked).
        default: the value of a setting that is left out; REQUIRED: there is none.
        description: as in `Setting`.
        low: as in `Setting`.
        high: as in `Setting`.
        exclusive_low: as in `Setting`.
        choices: the texts allowed; empty: any.
        names: as in `Setting`.
    """

    name: str
    type: str
    default: Any = REQUIRED
    description: str = ""
    low: float | None = None
    high: float | None = None
    exclusive_low: bool = False
    choices: tuple[str, ...] = ()
    names: Names | None = None

    @property
    def is_required(self) -> bool:
        """Whether there is no default."""
        return self.default is REQUIRED

    def check(self, path: str, value: Any) -> Any:
        """Return `value` converted to the declared type: 64.0 becomes 64 for an int.

        Raises:
            ConfigError: at `path`, for a value of another type, out of bounds, or not among the choices.
        """
        if self.type == "any" or (value is None and self.default is None):
            return value
        if not self.type.startswith("list["):
            return self._check_one(path, value, self.type)
        if not isinstance(value, list | tuple):
            raise ConfigError(path, f"must be {_ARTICLES[self.type]}, got {value!r}")
        element = self.type[len("list[") : -1]
        return [self._check_one(f"{path}[{index}]", item, element) for index, item in enumerate(value)]

    def _check_one(self, path: str, value: Any, kind: str) -> Any:
        converted = _convert(value, kind)
        if converted is None:
            raise ConfigError(path, f"must be {_ARTICLES[kind]}, got {value!r}")
        if kind in ("float", "int"):
            self._check_bounds(path, converted)
        if self.choices and converted not in self.choices:
            raise ConfigError(path, f"unknown choice {converted!r}; {did_you_mean(converted, self.choices)}")
        return converted

    def _check_bounds(self, path: str, value: float) -> None:
        if self.low is not None and (value < self.low or (self.exclusive_low and value == self.low)):
            raise ConfigError(path, f"must be {'>' if self.exclusive_low else '>='} {self.low:g}, got {value:g}")
        if self.high is not None and value > self.high:
            raise ConfigError(path, f"must be <= {self.high:g}, got {value:g}")

    def describe(self) -> dict[str, Any]:
        """Return the parameter as the JSON catalogue stores it."""
        facts: dict[str, Any] = {"type": self.type}
        facts |= {"required": True} if self.is_required else {"default": self.default}
        facts["description"] = self.description
        facts |= {bound: limit for bound in ("low", "high") if (limit := getattr(self, bound)) is not None}
        if self.exclusive_low:
            facts["exclusive_low"] = True
        if self.choices:
            facts["choices"] = list(self.choices)
        if self.names is not None:
            facts["names"] = self.names
        return facts


def parameters_of(factory: Callable[..., object]) -> dict[str, Parameter]:
    """Return the keyword-only parameters of `factory` in order of declaration, read from its signature and annotations.

    A parameter whose type is a dataclass stands for the fields of this dataclass that have a `Setting`. So several
    factories can share a group of settings.
    """
    parameters: dict[str, Parameter] = {}
    for name, (hint, default) in _keywords(factory).items():
        parameters |= _fields_of(hint) if is_dataclass(hint) else {name: _parameter(name, hint, default)}
    return parameters


def arguments_of(
    factory: Callable[..., object], values: Mapping[str, Any], context: Sequence[object] = ()
) -> dict[str, Any]:
    """Return `values` as keyword arguments for `factory`, with the fields of a dataclass collected into one object.

    Args:
        factory: the function or class to call.
        values: the values of its declared parameters by name.
        context: objects that are not settings; a parameter annotated with the type of one of them receives it.
    """
    arguments = dict(values)
    by_type = {type(value): value for value in context}
    for name, (hint, _) in _keywords(factory).items():
        if hint in by_type:
            arguments[name] = by_type[hint]
        elif is_dataclass(hint) and isinstance(hint, type):
            arguments[name] = hint(**{field: arguments.pop(field) for field in _fields_of(hint) if field in arguments})
    return arguments


def check_all(path: str, owner: str, declared: Mapping[str, Parameter], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of all declared parameters: those in `settings` converted, the others at their defaults.

    Args:
        path: the setting that the parameters belong to, for errors; "": they are top-level settings.
        owner: what the parameters belong to, in words, for errors.
        declared: the parameters by name.
        settings: the values as the configuration gives them.

    Raises:
        ConfigError: a name is unknown, a required parameter is missing, or a value is not valid.
    """
    for name in settings:
        if name not in declared:
            raise ConfigError(_join(path, name), f"{owner} has no such setting; {did_you_mean(name, declared)}")
    values: dict[str, Any] = {}
    for name, parameter in declared.items():
        if name in settings:
            values[name] = parameter.check(_join(path, name), settings[name])
        elif parameter.is_required:
            raise ConfigError(_join(path, name), f"missing, but {owner} needs it: {parameter.description}")
        else:
            values[name] = parameter.default
    return values


def _keywords(factory: Callable[..., object]) -> dict[str, tuple[Any, Any]]:
    """Return the annotation and the default of each keyword-only parameter."""
    constructor = factory.__init__ if isinstance(factory, type) else factory  # type: ignore[misc]
    hints = get_type_hints(constructor, include_extras=True)
    return {
        name: (hints.get(name, Any), declared.default)
        for name, declared in inspect.signature(factory).parameters.items()
        if declared.kind is inspect.Parameter.KEYWORD_ONLY
    }


def _fields_of(group: Any) -> dict[str, Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return {
        field.name: _parameter(field.name, hints[field.name], REQUIRED if field.default is MISSING else field.default)
        for field in fields(group)
        if get_origin(hints[field.name]) is Annotated
    }


def _join(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)


def _convert(value: Any, kind: str) -> Any:
    """Return `value` as the type called `kind`, or None if it has another type."""
    if kind in ("bool", "str"):
        return value if isinstance(value, bool if kind == "bool" else str) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    if kind == "float":
        return float(value)
    return int(value) if value == int(value) else None


def _parameter(name: str, annotation: Any, default: Any) -> Parameter:
    setting = Setting("")
    if get_origin(annotation) is Annotated:
        annotation, *extras = get_args(annotation)
        setting = next((extra for extra in extras if isinstance(extra, Setting)), setting)
    if type(None) in get_args(annotation):
        annotation = Union[tuple(part for part in get_args(annotation) if part is not type(None))]  # noqa: UP007
    choices = get_args(annotation) if get_origin(annotation) is Literal else ()
    kind = "str" if choices else getattr(annotation, "__name__", "any")
    if get_origin(annotation) in (list, Sequence):
        kind = f"list[{get_args(annotation)[0].__name__}]"
    return Parameter(
        name=name,
        type=kind if kind in _ARTICLES else "any",
        default=list(default) if isinstance(default, tuple) else default,
        description=setting.description,
        low=setting.low,
        high=setting.high,
        exclusive_low=setting.exclusive_low,
        choices=choices,
        names=setting.names,
    )
