"""What trains here: a fingerprint of the code of training processes, and the environment they run in."""

from __future__ import annotations

import hashlib
import platform
import sys
from importlib import metadata
from pathlib import Path

import torch

_PACKAGE = Path(__file__).resolve().parents[1]
_SOURCES = ("training", "trial")
"""What runs in a training process; the agent around it changes no result."""

_LIBRARIES = ("torch", "numpy", "scikit-learn", "torchmetrics", "pyarrow")
"""What may change a result; without the local part of a version, so that builds for CPU and CUDA count as one."""


def code_fingerprint(package: Path = _PACKAGE) -> str:
    """SHA-256 over the sources of training, the versions of what it calls, and Python's minor version."""
    digest = hashlib.sha256()
    for version in ("python", *map(str, sys.version_info[:2])), *((name, _version(name)) for name in _LIBRARIES):
        digest.update(repr(version).encode())
    for path in sorted(path for folder in _SOURCES for path in (package / folder).rglob("*.py")):
        digest.update(repr((path.relative_to(package).as_posix(), path.stat().st_size)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def environment(threads: int) -> dict[str, str]:
    """What may explain a difference between two trainings of one configuration."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "threads": str(threads),
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        return "none"
