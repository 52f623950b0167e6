"""The size of long proofs: full by `make prove`, smaller in CI and by default."""

from __future__ import annotations

import os

IS_FULL = os.environ.get("ASSAYER_TEST_SIZE", "ci") == "full"


def size(*, ci: int, full: int) -> int:
    """Return the size of a proof: `full` if `make prove` runs it, else `ci`."""
    return full if IS_FULL else ci
