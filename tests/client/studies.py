"""A study whose trials a test runs by hand."""

from __future__ import annotations

import uuid
from typing import Any


def hand_driven(*, trials: int = 3, **changes: Any) -> dict[str, Any]:
    """Return a small study without a task, of a name that no other test has."""
    return {
        "name": f"study-{uuid.uuid4().hex[:8]}",
        "objective": {"metric": "val/accuracy", "direction": "maximize", "value": "best"},
        "space": {"lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True}},
        "sampler": {"name": "random", "seed": 1},
        "budget": {"trials": trials},
        "reference": {"baseline": 0.5},
    } | changes
