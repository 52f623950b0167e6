"""Provenance of a training: a fingerprint of the core's and custom code, and the software environment."""

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
"""The packages that run in a training process; the agent's code changes no result."""

_LIBRARIES = ("torch", "numpy", "scikit-learn", "torchmetrics", "pyarrow")
"""Libraries whose version may change a result.

The local part of a version is ignored, so that CPU and CUDA builds count as one.
"""

_INSTALLED = {
    _PACKAGE,
    *(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
}
"""Directories of installed code, which is not custom code."""


def code_fingerprint(package: Path = _PACKAGE, custom_sources: Mapping[str, Path] = MappingProxyType({})) -> str:
    """Return a SHA-256 over the training code and the versions it depends on.

    Args:
        package: The folder of the package `worker`.
        custom_sources: Files of custom code by module name, which are included.

    Returns:
        The hash over these files, the versions of the libraries that training calls, and Python's minor version.
    """
    paths = [path for folder in _SOURCES for path in (package / folder).rglob("*.py")]
    return fingerprint_of({**{path.relative_to(package).as_posix(): path for path in paths}, **custom_sources})


def fingerprint_of(sources: Mapping[str, Path]) -> str:
    """Return a SHA-256 over the names and contents of files and over the versions that every training depends on."""
    digest = hashlib.sha256()
    for version in ("python", *map(str, sys.version_info[:2])), *((name, _version(name)) for name in _LIBRARIES):
        digest.update(repr(version).encode())
    for name, path in sorted(sources.items()):
        digest.update(repr((name, path.stat().st_size)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def loaded_sources(module: str, loaded_before: Collection[str]) -> dict[str, Path]:
    """Return the files of a module and of the modules that were imported with it.

    Args:
        module: The imported module.
        loaded_before: The modules that were loaded before, which are left out; so are installed packages.
    """
    modules = list(sys.modules.items())
    files = {name: Path(file) for name, loaded in modules if (file := getattr(loaded, "__file__", None))}
    return {
        name: path
        for name, path in files.items()
        if name == module
        or (name not in loaded_before and not any(path.is_relative_to(folder) for folder in _INSTALLED))
    }


def _is_installed(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in _INSTALLED)


def environment(threads: int) -> dict[str, str]:
    """Return the versions and settings that may explain a difference between two trainings of one configuration."""
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
