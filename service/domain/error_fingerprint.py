"""Error fingerprints: hashes of the exception class and the innermost frames of user code, equal for equal errors."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePath

from service.contract.attempt import Outcome

NUM_FRAMES = 3
"""Number of innermost frames that enter the fingerprint. The callers of these frames may differ."""

_FRAME = re.compile(r'^\s+File "(?P<path>[^"]+)", line \d+, in (?P<function>.+)$')
_RAISED = re.compile(r"^(?P<name>[A-Za-z_][\w.]*)(?::|$)")
_FOREIGN = re.compile(r"site-packages|dist-packages|[/\\]lib[/\\]python\d|<frozen|<string>")
_VARYING = re.compile(r"0x[0-9a-fA-F]+|\d+")


def error_fingerprint(outcome: Outcome) -> str:
    """Return a SHA-256 hex digest that is equal for equal errors.

    The hash covers the exception class and up to `NUM_FRAMES` innermost frames of user code. Line numbers, addresses,
    leading directories and the exception's message do not change it. Without a readable traceback, the hash covers the
    message with all numbers replaced.
    """
    return hashlib.sha256(_error_text(outcome).encode()).hexdigest()


def _error_text(outcome: Outcome) -> str:
    raised, frames = _parse_traceback(outcome.traceback or "")
    if raised is None:
        return _VARYING.sub("#", outcome.message)
    own = [place for place, is_foreign in frames if not is_foreign] or [place for place, _ in frames]
    return "\n".join([raised, *own[-NUM_FRAMES:]])


def _parse_traceback(traceback: str) -> tuple[str | None, list[tuple[str, bool]]]:
    """Return the class of the last exception, and its frames as ("directory/file:function", is library code)."""
    raised: str | None = None
    frames: list[tuple[str, bool]] = []
    for line in traceback.splitlines():
        if line.startswith("Traceback (most recent call last)"):
            raised, frames = None, []
        elif frame := _FRAME.match(line):
            path = frame["path"]
            place = "/".join(PurePath(path).parts[-2:])
            frames.append((f"{place}:{frame['function']}", bool(_FOREIGN.search(path))))
        elif raised is None and (name := _RAISED.match(line)):
            raised = name["name"]
    return raised, frames
