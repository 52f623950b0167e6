"""What may be said of a file that is not the data it should be: line numbers and counts, never what it holds.

Such a file may be anything, a key or a password by mistake or on purpose, and messages go to the service.
"""

import re
from collections.abc import Callable, Iterable

import pyarrow as pa

from worker.training.errors import did_you_mean

_COUNTS = re.compile(r"Row #(?P<row>\d+): Expected (?P<expected>\d+) columns, got (?P<found>\d+)")
_NAME = re.compile(r"\w[\w .:%/()\[\]#+°²³-]{0,63}")
_MAX_NAMES = 20


def why_no_csv(read_again: Callable[[], object], error: pa.ArrowInvalid) -> str:
    """Say why pyarrow can't read a CSV file; `read_again` reads it in one thread, which knows the line."""
    try:
        read_again()
    except pa.ArrowInvalid as again:
        error = again
    said = str(error)
    if found := _COUNTS.search(said):
        return f"line {found['row']} has {found['found']} columns where {found['expected']} are expected"
    if said.startswith("Empty CSV"):
        return "it is empty"
    if "straddles two block" in said:
        return "a line is longer than a megabyte"
    return "it is not written as CSV"


def nearest_column(name: str, names: Iterable[str]) -> str:
    """The nearest of a table's columns as a question, else all of them, as far as they read as names of columns."""
    columns = list(names)
    plain = [column for column in columns if _NAME.fullmatch(column)]
    # One column of whatever: most likely the file is no table at all.
    if len(columns) < 2 or len(plain) < len(columns):
        return f"the first line has {len(columns)} column{'s' if len(columns) > 1 else ''}; is this the table?"
    hint = did_you_mean(name, plain)
    if hint.startswith("known:") and len(plain) > _MAX_NAMES:
        return f"known: {', '.join(sorted(plain)[:_MAX_NAMES])} and {len(plain) - _MAX_NAMES} more"
    return hint


def shown_column(name: str) -> str:
    """A column's name from a file as a message quotes it; none that does not read as one."""
    return repr(name) if _NAME.fullmatch(name) else "(its name is no column's name)"
