"""Ends this process by the signal that has ended another one of its attempt, so that the agent judges both alike."""

from __future__ import annotations

import os
import signal
from contextlib import suppress


def end_by(number: int) -> None:
    """End by this signal, whatever handler it had; returns only where that signal ends nothing."""
    with suppress(OSError):  # SIGKILL has no handler to reset
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
