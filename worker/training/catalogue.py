"""The catalogue of all training settings as JSON, by which the service validates studies without PyTorch."""

import json
import sys
from typing import Any

from worker.training.components.metrics import METRIC_NAMES
from worker.training.config import DEFAULT_SECTIONS, LISTS, REGISTRIES, SETTINGS
from worker.training.estimators.entries import ESTIMATORS
from worker.training.registry import Registry


def catalogue() -> dict[str, Any]:
    """Return the settings, the registry entries with their parameters, and the metrics reported by kind of task."""
    return {
        "format": 1,
        "settings": {name: parameter.describe() for name, parameter in SETTINGS.items()},
        "registries": {section: _described(registry) for section, registry in REGISTRIES.items()},
        "lists": {section: _described(registry) for section, registry in LISTS.items()},
        "estimators": _described(ESTIMATORS),
        "defaults": {section: dict(chosen) for section, chosen in DEFAULT_SECTIONS.items()},
        "metrics": {kind: list(names) for kind, names in METRIC_NAMES.items()},
    }


def _described(registry: Registry[Any]) -> dict[str, Any]:
    return {entry.name: entry.describe() for entry in registry}


def as_json() -> str:
    """Return the catalogue as the text of service/contract/catalogue.json."""
    return json.dumps(catalogue(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(as_json())
