"""Splits the trainings by a hash of their name into a half to tune rules on and a half that is held back."""

from __future__ import annotations

import hashlib


def is_held_back(name: str) -> bool:
    """Return whether a training belongs to the half that no rule is tuned on."""
    return hashlib.sha256(name.encode()).digest()[0] % 2 == 1
