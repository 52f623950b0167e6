"""Starts commands without root's capabilities, so that file modes apply to tests that run as root."""

from __future__ import annotations

import sys

WITHOUT_CAPABILITIES = [
    sys.executable,
    "-c",
    """
import ctypes, os, sys
for capability in range(64):  # as root in a container: an ordinary user has none either way
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
""",
]
"""Put before a command (with the full path of its program): it has its user's rights, and no rights of root beyond."""
