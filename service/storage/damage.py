"""Damaged rows: stored text that is not UTF-8, JSON that cannot be parsed, values that are not what the service writes.

Reading such a value never raises: it becomes a `DamagedText` or `DamagedJson`, so that the other rows of a query are
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

# What reading a value of the wrong type or range raises; errors of the database and for want of memory are not in it.
_CAUSES = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError, sa.exc.NoResultFound)


class DamagedText(str):
    """Stored text that is not UTF-8, with U+FFFD in the place of each byte that is wrong."""


@dataclass(frozen=True)
class DamagedJson:
    """A stored JSON value that cannot be parsed; it has none of the methods of a mapping or list."""

    reason: str


def read_text(stored: bytes) -> str:
    """Decode a text as SQLite holds it."""
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
    """Read a row in a block.

    Args:
        what: the row as people call it, such as "trial 3 of study digits".
        row: the row itself, where its text and JSON are to be looked at too.

    Raises:
        DamagedRowError: it cannot be read.
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
    """Build a message from each row; return the messages, and the rows that are damaged, each by its name."""
    built: list[T] = []
    damaged: list[DamagedRow] = []
    for row in rows:
        try:
            built.append(build(row))
        except DamagedRowError as error:
            damaged.append(DamagedRow(name=to_storable(str(name(row))), reason=error.reason))
    return built, damaged


def _flaw(row: sa.Row[Any]) -> str | None:
    for column, value in row._mapping.items():  # noqa: SLF001 - the documented way to the names of columns
        if isinstance(value, DamagedText):
            return f"{column} is not UTF-8"
        if isinstance(value, DamagedJson):
            return f"{column} {value.reason}"
    return None


def _reason(error: Exception) -> str:
    """An exception in one line; of the mistakes that pydantic found the first one, with its place."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        message = f"{'.'.join(map(str, first['loc'])) or 'the value'}: {first['msg']}"
    elif isinstance(error, sa.exc.NoResultFound):
        message = "it is not there"
    else:
        message = f"{type(error).__name__}: {error}"
    message = " ".join(to_storable(message).split())
    return message if len(message) <= _REASON_CHARACTERS else f"{message[:_REASON_CHARACTERS]}…"
