"""The catalogue of the training core's settings and registry entries, exported to JSON.

The service checks studies against it, so it needs no torch.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

from pydantic import Field

from service.contract.base import Response, TaskKind


class Setting(Response):
    """One option of the training core: its type, default and bounds."""

    type: str
    required: bool = False
    default: Any = None
    description: str = ""
    low: float | None = None
    high: float | None = None
    exclusive_low: bool = False
    choices: list[str] = []
    names: str | None = Field(
        default=None, description="what a text parameter names on a worker's disk: path, path or id"
    )


class Entry(Response):
    """One entry of a registry (a model, an optimizer, …) and its options."""

    description: str = ""
    parameters: dict[str, Setting] = {}
    facts: dict[str, Any] = {}


class Catalogue(Response):
    """Every setting, registry entry and metric of the training core."""

    format: int
    settings: dict[str, Setting]
    registries: dict[str, dict[str, Entry]]
    lists: dict[str, dict[str, Entry]] = Field(
        default={}, description="registries from which a task may name several entries"
    )
    defaults: dict[str, dict[str, Any]] = Field(description="optional sections -> their default")
    metrics: dict[str, list[str]] = Field(description="kind of task -> metrics it reports")

    estimators: dict[str, Entry] = Field(default={}, description="what an estimator task may name as its model")

    def for_kind(self, kind: TaskKind) -> Catalogue:
        """Return what a task of a kind can be set to; an estimator has data, metrics, and estimators as its models."""
        if kind is not TaskKind.ESTIMATOR:
            return self
        registries = {"data": self.registries.get("data", {}), "model": self.estimators}
        lists = {"metrics": self.lists.get("metrics", {})}
        return self.model_copy(update={"settings": {}, "registries": registries, "lists": lists, "defaults": {}})

    @property
    def sections(self) -> dict[str, dict[str, Entry]]:
        """All registries: those from which a task names one entry, and those from which it names any number."""
        return {**self.registries, **self.lists}


@cache
def load_catalogue() -> Catalogue:
    """Read the catalogue that this package ships."""
    text = resources.files("service.contract").joinpath("catalogue.json").read_text(encoding="utf-8")
    return Catalogue.model_validate_json(text)
