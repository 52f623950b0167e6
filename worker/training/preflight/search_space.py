"""The searched settings as the preflight sees them: each path with some of its values, and how to apply them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.training.config import REGISTRIES, TrainingConfig


@dataclass(frozen=True)
class SearchedParameter:
    """One searched setting.

    Attributes:
        values: for a number its smallest value first and its largest last; else all choices.
        requires: values of other searched settings under which this one exists.
    """

    values: Sequence[Any]
    requires: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SearchSpace:
    """The searched settings by dotted path, around a configuration that has one value of each.

    Attributes:
        base: the mapping of the study file's `task.train`, which may lack settings that are searched.
        centre: the value of each setting that exists at the centre of the space.
        parameters: the searched settings.
    """

    base: Mapping[str, Any]
    centre: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, SearchedParameter] = field(default_factory=dict)

    def configuration(self, changes: Mapping[str, Any] | None = None) -> TrainingConfig:
        """Return the configuration at the centre, with some settings changed.

        A setting of the centre that the changes make meaningless is left out: that of another entry, and one whose
        `requires` they break.

        Raises:
            ConfigError: the configuration is not valid.
        """
        return TrainingConfig.from_mapping(with_settings(self.base, self.settings(changes or {})))

    def settings(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of the searched settings at the centre, with some changed."""
        kept = {path: value for path, value in self.centre.items() if self._exists(path, changes)}
        return {**kept, **changes}

    def _exists(self, path: str, changes: Mapping[str, Any]) -> bool:
        """Return whether a setting of the centre still exists with the changes."""
        requires = self.parameters[path].requires if path in self.parameters else {}
        return all(changes.get(other, needed) in (needed, self.centre.get(other)) for other, needed in requires.items())


def with_settings(mapping: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mapping with settings applied by dotted path.

    Where a `name` changes, the options that the new entry does not have are left out.
    """
    config: dict[str, Any] = copy.deepcopy(dict(mapping))
    for section, registry in REGISTRIES.items():
        name, base = settings.get(f"{section}.name"), config.get(section)
        if isinstance(base, dict) and name is not None and name != base.get("name"):
            known = registry.entry(name).parameters
            config[section] = {option: value for option, value in base.items() if option in known}
    for path, value in settings.items():
        *sections, option = path.split(".")
        target = config
        for section in sections:
            target = target.setdefault(section, {})
        target[option] = value
    return config
