"""Reads what a rule says about a remedy, such as `{"factor": 0.3}`. What it does not say, or says oddly, is None."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def number_of(settings: Mapping[str, Any], key: str) -> float | None:
    """Return a finite number."""
    value = settings.get(key)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if is_number else None


def positive(settings: Mapping[str, Any], key: str) -> float | None:
    """Return a finite number above 0."""
    value = number_of(settings, key)
    return value if value is not None and value > 0 else None


def text_of(settings: Mapping[str, Any], key: str) -> str | None:
    """Return a text."""
    value = settings.get(key)
    return value if isinstance(value, str) else None
