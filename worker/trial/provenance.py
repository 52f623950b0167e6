"""What trains here: a fingerprint of the code, the core's or the user's own, and the environment that it runs in."""

from __future__ import annotations

import hashlib
import platform
import sys
import sysconfig
from collections.abc import Collection, Mapping
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

import torch

_PACKAGE = Path(__file__).resolve().parents[1]
_SOURCES = ("training", "trial")
"""What runs in a training process; the agent around it changes no result."""

_LIBRARIES = ("torch", "numpy", "scikit-learn", "torchmetrics", "pyarrow")
"""What may change a result; without the local part of a version, so that builds for CPU and CUDA count as one."""

_INSTALLED = {
    _PACKAGE,
    *(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
}
"""Where code lies that is nobody's own here."""


def code_fingerprint(package: Path = _PACKAGE, own: Mapping[str, Path] = MappingProxyType({})) -> str:
    """SHA-256 over the sources of training, the user's `own` among them by module, and over versions.

    These are the versions of what training calls, and Python's minor version.
    """
    paths = [path for folder in _SOURCES for path in (package / folder).rglob("*.py")]
    return fingerprint_of({**{path.relative_to(package).as_posix(): path for path in paths}, **own})


def fingerprint_of(sources: Mapping[str, Path]) -> str:
    """SHA-256 over the content of files, by their names, and over the versions that any training depends on."""
    digest = hashlib.sha256()
    for version in ("python", *map(str, sys.version_info[:2])), *((name, _version(name)) for name in _LIBRARIES):
        digest.update(repr(version).encode())
    for name, path in sorted(sources.items()):
        digest.update(repr((name, path.stat().st_size)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def loaded_sources(module: str, known: Collection[str]) -> dict[str, Path]:
    """The files of a module and of all that were loaded with it, beyond those `known`; not of installed packages."""
    files = {name: Path(file) for name, each in list(sys.modules.items()) if (file := getattr(each, "__file__", None))}
    return {
        name: path
        for name, path in files.items()
        if name == module or (name not in known and not any(path.is_relative_to(place) for place in _INSTALLED))
    }


def environment(threads: int) -> dict[str, str]:
    """What may explain a difference between two trainings of one configuration."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda or "none",
        "platform": platform.platform(),
        "threads": str(threads),
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        return "none"
