"""Ends this process by the signal that ended another process of its attempt, so that the agent treats both alike."""

from __future__ import annotations

import os
import signal
from contextlib import suppress


def end_by(number: int) -> None:
    """End this process by signal `number`, whatever its handler was; returns only if that signal ends no process."""
    with suppress(OSError):  # SIGKILL has no handler to reset
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
