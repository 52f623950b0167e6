"""Detects a CSV file's encoding and delimiter.

`service/cli/csv_dialect.py` is a copy of this file, so that `study init` reads a file as the training core does. A
test in tests/contract compares the two. The file imports only the standard library.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Sequence

PREFIX_BYTES = 1 << 18
"""How much of a file is read to detect its encoding and delimiter."""

_DELIMITERS = (",", ";", "\t", "|")
_NUM_LINES = 20
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip


def detect_encoding(content: bytes) -> str:
    """Return the most plausible encoding of a file that begins with `content`."""
    for mark, name in _BOMS:
        if content.startswith(mark):
            return name
    if _decoded(content, "utf-8") is not None:
        return "utf-8"
    korean = _decoded(content, "cp949")
    if korean is not None:
        foreign = [character for character in korean if character > "\x7f"]
        if 2 * sum("가" <= character <= "힣" for character in foreign) > len(foreign):
            return "cp949"
    western = _decoded(content, "cp1252")
    return "latin-1" if western is None else "cp1252"


def detect_delimiter(text: str) -> str:
    """Return the character between the values of a CSV file that begins with `text`.

    The delimiter is the one that divides the header and the next lines into equally many values; of several, the one
    with the most values. If there is none, it is the most frequent candidate in the header, and a comma for a file with
    one column.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if not text.endswith("\n") and len(lines) > 1:
        del lines[-1]  # the last line may be incomplete
    lines = lines[:_NUM_LINES]
    header = lines[0] if lines else ""
    widths = {delimiter: _widths(lines, delimiter) for delimiter in _DELIMITERS}
    even = [each for each in _DELIMITERS if len(set(widths[each])) == 1 and widths[each][0] > 1]
    if even:
        return max(even, key=lambda each: widths[each][0])
    return max(_DELIMITERS, key=header.count)


def _widths(lines: Sequence[str], delimiter: str) -> list[int]:
    try:
        return [len(row) for row in csv.reader(lines, delimiter=delimiter)]
    except csv.Error:
        return []


def _decoded(content: bytes, encoding: str) -> str | None:
    """Decode the beginning of a file, which may end within a character; None if the encoding does not fit."""
    try:
        return codecs.getincrementaldecoder(encoding)().decode(content, final=False)
    except UnicodeDecodeError:
        return None
