"""Damaged rows: stored text that is not UTF-8, invalid JSON, and values that the service never writes.

Reading such a value never raises: it becomes a `DamagedText` or `DamagedJson`, so that the other rows of a query can be
read. Building a message from the row raises `DamagedRowError`, which a listing catches row by row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa
from pydantic import ValidationError

from service.contract.base import DamagedRow
from service.contract.storable import to_storable
from service.domain.errors import DamagedRowError

T = TypeVar("T")

_REASON_CHARACTERS = 200

# Exceptions from values of the wrong type or range. Database errors and out-of-memory errors are not included.
_CAUSES = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError, sa.exc.NoResultFound)


class DamagedText(str):
    """Stored text that is not UTF-8, with U+FFFD in place of each wrong byte."""


@dataclass(frozen=True)
class DamagedJson:
    """A stored JSON value that cannot be parsed; it has none of the methods of a mapping or list."""

    reason: str


def read_text(stored: bytes) -> str:
    """Decode text as SQLite stores it."""
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return DamagedText(stored.decode(errors="replace"))


def read_json(text: str | bytes, parse_int: Callable[[str], int | float] | None = None) -> Any:
    """Parse a stored JSON value."""
    if isinstance(text, DamagedText):
        return DamagedJson("is not UTF-8")
    try:
        return json.loads(text, parse_int=parse_int)
    except (ValueError, TypeError, RecursionError) as error:
        return DamagedJson(f"is not JSON ({error})")


@contextmanager
def reading(what: str, row: sa.Row[Any] | None = None) -> Iterator[None]:
    """Convert exceptions from reading a row in this block into a DamagedRowError.

    Args:
        what: Name of the row for users, such as "trial 3 of study digits".
        row: The row itself, if its text and JSON columns should be checked too.

    Raises:
        DamagedRowError: The row cannot be read.
    """
    if row is not None and (flaw := _flaw(row)) is not None:
        raise DamagedRowError(what, flaw)
    try:
        yield
    except DamagedRowError:
        raise
    except _CAUSES as error:
        raise DamagedRowError(what, _reason(error)) from error


def split_damaged(
    rows: Iterable[sa.Row[Any]], build: Callable[[sa.Row[Any]], T], name: Callable[[sa.Row[Any]], object]
) -> tuple[list[T], list[DamagedRow]]:
    """Build a message from each row; return the messages and the damaged rows, each with its name and reason."""
    built: list[T] = []
    damaged: list[DamagedRow] = []
    for row in rows:
        try:
            built.append(build(row))
        except DamagedRowError as error:
            damaged.append(DamagedRow(name=to_storable(str(name(row))), reason=error.reason))
    return built, damaged


def _flaw(row: sa.Row[Any]) -> str | None:
    for column, value in row._mapping.items():  # noqa: SLF001 - the documented way to get column names
        if isinstance(value, DamagedText):
            return f"{column} is not UTF-8"
        if isinstance(value, DamagedJson):
            return f"{column} {value.reason}"
    return None


def _reason(error: Exception) -> str:
    """Describe an exception in one line; for a pydantic error, the first mistake with its location."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        message = f"{'.'.join(map(str, first['loc'])) or 'the value'}: {first['msg']}"
    elif isinstance(error, sa.exc.NoResultFound):
        message = "it is not there"
    else:
        message = f"{type(error).__name__}: {error}"
    message = " ".join(to_storable(message).split())
    return message if len(message) <= _REASON_CHARACTERS else f"{message[:_REASON_CHARACTERS]}…"
