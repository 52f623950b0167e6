"""A small registry of named factories with declared parameters; each room of the core keeps its own."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from worker.training.allowed_folders import ANYWHERE, AllowedFolders
from worker.training.errors import ConfigError, did_you_mean
from worker.training.parameters import Parameter, arguments_of, check_all, parameters_of

T = TypeVar("T")
Factory = TypeVar("Factory", bound=Callable[..., object])


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A factory and what is known of it; its settings are the factory's keyword-only parameters."""

    name: str
    factory: Callable[..., T]
    description: str
    parameters: Mapping[str, Parameter]
    facts: Mapping[str, Any]

    def describe(self) -> dict[str, Any]:
        """The entry as the JSON catalogue shows it."""
        return {
            "description": self.description,
            "parameters": {name: parameter.describe() for name, parameter in self.parameters.items()},
            "facts": dict(self.facts),
        }


class Registry(Generic[T]):
    """Entries of one section of the configuration: `MODELS.add(my_net)` makes `model: {name: my_net}` work."""

    def __init__(self, section: str) -> None:
        self.section = section
        self._entries: dict[str, Entry[T]] = {}

    def add(self, factory: Factory, **facts: object) -> Factory:
        """Register `factory` under its own name, described by its docstring's first line; usable as a decorator.

        Its keyword-only parameters become the settings; `Annotated[…, Setting(…)]` adds descriptions and bounds.
        ValueError where the name is taken, or is none, as that of a lambda.
        """
        name = factory.__name__
        if not name.isidentifier():
            raise ValueError(f"{self.section} {name!r} has no name; define it as a function")
        if name in self._entries:
            raise ValueError(f"{self.section} {name!r} is registered already; give the factory another name")
        description = (factory.__doc__ or "").strip().partition("\n")[0]
        self._entries[name] = Entry(name, cast("Callable[..., T]", factory), description, parameters_of(factory), facts)
        return factory

    def __iter__(self) -> Iterator[Entry[T]]:
        return iter(self._entries.values())

    def entry(self, name: object, path: str | None = None) -> Entry[T]:
        """The entry called `name`; ConfigError at `path` (the section) with the nearest name where there is none."""
        if not isinstance(name, str) or name not in self._entries:
            raise ConfigError(
                f"{path or self.section}.name", f"unknown {self.section} {name!r}; {did_you_mean(name, self._entries)}"
            )
        return self._entries[name]

    def check(self, name: object, settings: Mapping[str, Any], path: str | None = None) -> dict[str, Any]:
        """The entry's settings, complete and in their declared types; ConfigError at `path` (the section) otherwise."""
        path = path or self.section
        entry = self.entry(name, path)
        return check_all(path, f"{self.section} {entry.name!r}", entry.parameters, settings)

    def create(
        self,
        name: str,
        settings: Mapping[str, Any],
        *context: object,
        folders: AllowedFolders = ANYWHERE,
        path: str | None = None,
    ) -> T:
        """What the entry's factory makes of its context (sizes, weights) and its settings.

        OutsideFolders at `path` (the section) where a setting names a path outside the `folders`; a factory that goes
        on to read what a file names takes them as a parameter of type AllowedFolders.
        """
        entry = self.entry(name)
        folders.require_settings(path or self.section, entry.parameters, settings)
        return entry.factory(*context, **arguments_of(entry.factory, settings, [folders]))
