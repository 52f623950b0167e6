"""Finds values that JSON or a database cannot carry: lone surrogates, NUL, huge integers, NaN, too deep nesting."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

MAX_INTEGER = 2**53
"""The largest integer that every JSON reader keeps exactly, as JavaScript has only doubles."""

MAX_COUNT = 2**31 - 1
"""The largest number of trials, failures or steps, and the largest priority: the limit of a 32-bit column."""

MAX_DEPTH = 64
"""The deepest nesting of lists and mappings. Pydantic's encoder gives up at 255 levels."""

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
"""Characters that neither UTF-8 nor Postgres's text and JSONB can hold."""


class Flaw(NamedTuple):
    """Why a value cannot be stored, and where in it: keys and indices from the outside in."""

    path: tuple[str | int, ...]
    reason: str


def find_flaw(value: object, depth: int = 0) -> Flaw | None:
    """Return the first flaw of a value, or None if it can be stored.

    Args:
        value: a value of a message. Text, numbers, lists and mappings are examined. Other types are skipped.
        depth: the number of lists and mappings around it.
    """
    if isinstance(value, dict):
        return _find_inside(value.items(), depth)
    if isinstance(value, list | tuple):
        return _find_inside(enumerate(value), depth)
    reason = _scalar_flaw(value)
    return None if reason is None else Flaw((), reason)


def _scalar_flaw(value: object) -> str | None:
    if isinstance(value, str):
        return None if is_text(value) else describe_flaw(value)
    if isinstance(value, float):
        return None if math.isfinite(value) else f"is {value}, and JSON has no numbers that are not finite"
    if isinstance(value, int) and not -MAX_INTEGER <= value <= MAX_INTEGER:
        return f"is beyond ±2^53, which JSON cannot carry exactly; use -{MAX_INTEGER} to {MAX_INTEGER}"
    return None


def _find_inside(items: Iterable[tuple[str | int, object]], depth: int) -> Flaw | None:
    if depth == MAX_DEPTH:
        return Flaw((), f"is nested more than {MAX_DEPTH} levels deep; flatten it")
    for key, item in items:
        if (reason := _scalar_flaw(key)) is not None:
            return Flaw((), f"the key {key!r:.80} {reason}")
        if (flaw := find_flaw(item, depth + 1)) is not None:
            return Flaw((key, *flaw.path), flaw.reason)
    return None


def is_text(text: str) -> bool:
    """Return whether UTF-8 and every database can hold a text."""
    if text.isascii():  # str knows this without reading the characters
        return "\0" not in text
    return _UNSTORABLE.search(text) is None


def describe_flaw(text: str) -> str:
    """Describe which character of a text cannot be stored."""
    found = _UNSTORABLE.search(text)
    assert found is not None
    name = "a NUL character (U+0000)" if found[0] == "\0" else f"a lone surrogate (U+{ord(found[0]):04X})"
    return f"holds {name} that no database can store; remove it"


def to_storable(text: str) -> str:
    """Replace characters that no database can store (lone surrogates, NUL) by U+FFFD, the replacement character."""
    return text if is_text(text) else _UNSTORABLE.sub("\ufffd", text)
