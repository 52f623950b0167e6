"""Describes the machine for a page of benchmark results."""

from __future__ import annotations

import contextlib
import os
import platform
import re
from pathlib import Path


def machine() -> str:
    """Return the number of cores, the processor, the operating system and the Python version."""
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
        cpu = names[0] if names else cpu
    return (
        f"{os.cpu_count()} cores, {cpu}, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )
