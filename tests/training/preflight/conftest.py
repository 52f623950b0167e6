"""Registers the planted entries for the tests of this folder, and takes them away afterwards."""

from __future__ import annotations

import pytest

from tests.training.preflight.planted_faults import data, losses, models
from tests.training.preflight.planted_faults.fault import ENTRIES

__all__ = ["data", "losses", "models"]


@pytest.fixture
def planted_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broken models, losses, optimizers and data sources, which configurations of this test may name."""
    for registry in {id(registry): registry for registry, _, _ in ENTRIES}.values():
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    for registry, factory, facts in ENTRIES:
        registry.add(factory, **facts)
