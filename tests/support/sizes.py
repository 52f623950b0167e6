"""How much of a long proof is played: all of it by `make prove`, a smaller part in CI and wherever nobody says."""

from __future__ import annotations

import os

IS_FULL = os.environ.get("ASSAYER_TEST_SIZE", "ci") == "full"


def size(*, ci: int, full: int) -> int:
    """Return the size of a proof: `full` if `make prove` runs it, else `ci`."""
    return full if IS_FULL else ci
