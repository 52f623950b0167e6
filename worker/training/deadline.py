"""An instant at which work gives up."""

import time


class Deadline:
    """An instant at which a check or a fit gives up.

    Args:
        seconds: from now.
    """

    def __init__(self, seconds: float) -> None:
        self._at = time.perf_counter() + seconds

    def extend(self, seconds: float) -> None:
        """Give up later by some seconds."""
        self._at += seconds

    @property
    def left(self) -> float:
        """Seconds left; 0 if it has passed."""
        return max(0.0, self._at - time.perf_counter())

    @property
    def has_passed(self) -> bool:
        """Whether no time is left."""
        return self.left == 0.0
