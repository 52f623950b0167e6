"""All that a training can be set to, as JSON: the service checks studies by it without importing this package."""

import json
import sys
from typing import Any

from worker.training.config import DEFAULT_SECTIONS, REGISTRIES, SETTINGS
from worker.training.metrics import METRIC_NAMES


def catalogue() -> dict[str, Any]:
    """Settings, registry entries with their parameters, and the metrics reported for each kind of task."""
    return {
        "format": 1,
        "settings": {name: parameter.describe() for name, parameter in SETTINGS.items()},
        "registries": {
            section: {entry.name: entry.describe() for entry in registry} for section, registry in REGISTRIES.items()
        },
        "defaults": {section: dict(chosen) for section, chosen in DEFAULT_SECTIONS.items()},
        "metrics": {kind: list(names) for kind, names in METRIC_NAMES.items()},
    }


def as_json() -> str:
    """The catalogue as the text of its file."""
    return json.dumps(catalogue(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(as_json())
