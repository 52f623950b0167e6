"""Error details about a file that can't be read as data: line numbers and counts, never its content.

Such a file may be anything, even a key or a password, by mistake or on purpose, and error messages go to the service.
"""

import re
from collections.abc import Callable, Iterable

import pyarrow as pa

from worker.training.errors import did_you_mean

_COUNTS = re.compile(r"Row #(?P<row>\d+): Expected (?P<expected>\d+) columns, got (?P<found>\d+)")
_NAME = re.compile(r"\w[\w .:%/()\[\]#+°²³-]{0,63}")
_MAX_NAMES = 20


def why_no_csv(read_again: Callable[[], object], error: pa.ArrowInvalid) -> str:
    """Return why pyarrow can't read a CSV file.

    Args:
        read_again: reads the file in one thread, where pyarrow knows the line number of the error.
        error: the error of the first attempt.
    """
    try:
        read_again()
    except pa.ArrowInvalid as precise_error:
        error = precise_error
    message = str(error)
    if counts := _COUNTS.search(message):
        return f"line {counts['row']} has {counts['found']} columns, but {counts['expected']} are expected"
    if message.startswith("Empty CSV"):
        return "it is empty"
    if "straddles two block" in message:
        return "a line is longer than a megabyte"
    return "it is not in CSV format"


def nearest_column(name: str, names: Iterable[str]) -> str:
    """Return the nearest column name as a question, or else the column names, if they all look like names."""
    columns = list(names)
    plain = [column for column in columns if _NAME.fullmatch(column)]
    # A single column, or names that do not look like names: most likely the file is no table.
    if len(columns) < 2 or len(plain) < len(columns):
        return f"the first line has {len(columns)} column{'s' if len(columns) > 1 else ''}; is this the table?"
    hint = did_you_mean(name, plain)
    if hint.startswith("known:") and len(plain) > _MAX_NAMES:
        return f"known: {', '.join(sorted(plain)[:_MAX_NAMES])} and {len(plain) - _MAX_NAMES} more"
    return hint


def shown_column(name: str) -> str:
    """Return a file's column name as a message quotes it; a placeholder if it does not look like a name."""
    return repr(name) if _NAME.fullmatch(name) else "(name not shown: it does not look like a column name)"
