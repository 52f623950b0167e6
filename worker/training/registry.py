"""Registries of named factories: `name: …` in a configuration selects an entry, and its parameters are the settings."""

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
    """One registered factory, whose settings are its keyword-only parameters.

    Attributes:
        name: the factory's own name, by which a configuration selects it.
        factory: builds the object from positional context (such as the dataset) and keyword-only settings.
        description: the first line of the factory's docstring, for the catalogue and the docs.
        parameters: the declared settings by name.
        facts: what validation needs to know beyond the settings, such as the `kinds` of task the entry is for.
    """

    name: str
    factory: Callable[..., T]
    description: str
    parameters: Mapping[str, Parameter]
    facts: Mapping[str, Any]

    def describe(self) -> dict[str, Any]:
        """Return the entry as the JSON catalogue stores it."""
        return {
            "description": self.description,
            "parameters": {name: parameter.describe() for name, parameter in self.parameters.items()},
            "facts": dict(self.facts),
        }


class Registry(Generic[T]):
    """The entries of one section of the configuration: after `MODELS.add(my_net)`, `model: {name: my_net}` works."""

    def __init__(self, section: str) -> None:
        self.section = section
        self._entries: dict[str, Entry[T]] = {}

    def add(self, factory: Factory, **facts: object) -> Factory:
        """Register `factory` under its own name; usable as a decorator.

        The first line of its docstring becomes the description, and its keyword-only parameters become the settings.
        `Annotated[…, Setting(…)]` adds a description and bounds to a parameter.

        Args:
            factory: the function or class that builds the object.
            **facts: stored with the entry, for example `kinds=["classification"]`.

        Returns:
            The factory itself.

        Raises:
            ValueError: the name is registered already, or is not an identifier, as that of a lambda.
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
        """Return the entry called `name`.

        Args:
            name: the name as the configuration gives it, of any type.
            path: the setting named in errors; None: the section.

        Raises:
            ConfigError: there is no such entry; the message suggests the nearest name.
        """
        if not isinstance(name, str) or name not in self._entries:
            raise ConfigError(
                f"{path or self.section}.name", f"unknown {self.section} {name!r}; {did_you_mean(name, self._entries)}"
            )
        return self._entries[name]

    def check(self, name: object, settings: Mapping[str, Any], path: str | None = None) -> dict[str, Any]:
        """Return the settings of entry `name`, completed with defaults and converted to their declared types.

        Args:
            name: the entry's name as the configuration gives it.
            settings: the settings as the configuration gives them.
            path: the setting named in errors; None: the section.

        Raises:
            ConfigError: the name or a setting is unknown, a required setting is missing, or a value has the wrong type
                or is out of bounds.
        """
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
        """Call the entry's factory and return the object that it builds.

        Args:
            name: the entry's name.
            settings: its complete settings, as `check` returns them.
            *context: the factory's positional arguments, such as the dataset or the optimizer's weights.
            folders: the folders that the settings' paths must lie in. A factory that goes on to read paths named inside
                a file takes them as a parameter of type AllowedFolders.
            path: the setting named in errors; None: the section.

        Raises:
            OutsideFolders: a setting names a path outside the `folders`.
        """
        entry = self.entry(name)
        folders.require_settings(path or self.section, entry.parameters, settings)
        return entry.factory(*context, **arguments_of(entry.factory, settings, [folders]))
