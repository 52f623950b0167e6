"""Optional dependencies of samplers: which of the package's extras are installed."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Literal

from service.contract.problem import FieldError

Extra = Literal["gp"]

_LIBRARIES: dict[Extra, tuple[str, ...]] = {"gp": ("torch",)}


@cache
def has_extra(extra: Extra) -> bool:
    """Return whether the libraries of an extra are installed, without importing them."""
    return not _missing(extra)


def check_extra(sampler: str, extra: Extra) -> list[FieldError]:
    """Check that the libraries that a sampler needs are installed."""
    if has_extra(extra):
        return []
    lacking = " and ".join(_missing(extra))
    message = f"{sampler} needs {lacking} on the service; install 'assayer[{extra}]' there, or write sampler: tpe"
    return [FieldError(path="sampler.name", message=message)]


def _missing(extra: Extra) -> list[str]:
    return [library for library in _LIBRARIES[extra] if find_spec(library) is None]
