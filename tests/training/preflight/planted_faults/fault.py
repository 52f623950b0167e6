"""A planted fault: a training that one numbered check of the preflight must not pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.training.registry import Registry

ENTRIES: list[tuple[Registry[Any], Callable[..., Any], dict[str, Any]]] = []
"""The broken entries of this folder: registry, factory and facts; a fixture registers them for one test."""


def plant(registry: Registry[Any], **facts: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Collect a broken entry, which the fixture `planted_entries` registers."""

    def collect(factory: Callable[..., Any]) -> Callable[..., Any]:
        ENTRIES.append((registry, factory, facts))
        return factory

    return collect


BASE: Mapping[str, Any] = {
    "data": {"name": "digits"},
    "model": {"name": "mlp", "hidden": [32]},
    "loss": {"name": "cross_entropy"},
    "optimizer": {"name": "adamw", "lr": 3e-3},
    "batch_size": 64,
    "epochs": 10,
}
"""A healthy training, which each fault changes in one place."""


@dataclass(frozen=True)
class Fault:
    """One planted fault.

    Attributes:
        number: the check that must warn or fail; others may do so too.
        name: what is broken, in words.
        changes: the sections and settings of `BASE` that differ.
        space: the searched paths with their values, from low to high.
    """

    number: int
    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    space: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @property
    def train(self) -> dict[str, Any]:
        """The mapping `task.train`."""
        return {**BASE, **self.changes}

    def __str__(self) -> str:
        return f"{self.number}-{self.name.replace(' ', '-')}"
