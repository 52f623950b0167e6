"""Makes the report of a text file for language modelling: its size, characters, lines and repetitions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from service.cli.inspect_data import FEWEST_TEXT_BYTES, TEXT_LENGTH
from service.cli.look import text_statistics
from service.cli.look.report import Column, Example, Finding, Report, sort_findings
from service.cli.look.wording import counted, percent
from service.client.errors import invalid_study

MAX_BYTES = 64 << 20
_OFTEN = 0.2
_MAX_LENGTH = 120


def report_text(path: Path, max_bytes: int = MAX_BYTES) -> Report:
    """Analyse a text file, or its beginning if it is large.

    Raises:
        InvalidStudy: the file holds binary data.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        content = file.read(max_bytes)
    if b"\0" in content[:4096]:
        raise invalid_study(path, "is not a text file: it holds binary data")
    text = content.decode("utf-8", errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    column = _lines(lines)
    notes = []
    if size > len(content):
        notes.append(f"The file is large: only its first {percent(len(content) / size)} was read.")
    notes.append(f"{size:,} bytes, {len(set(text)):,} different characters.")
    data: dict[str, Any] = {"name": "text", "path": str(path), "length": TEXT_LENGTH}
    return Report(
        source=str(path),
        kind="text",
        num_examples=size // TEXT_LENGTH,
        num_sampled=len(content) // TEXT_LENGTH,
        notes=notes,
        findings=sort_findings(list(_findings(size, content, text, lines))),
        columns=[] if column is None else [column],
        num_duplicates=0 if column is None or column.texts is None else column.texts.num_duplicates,
        examples=[Example(index=place, values={"line": _cut(lines[place])}) for place in _spread(len(lines))],
        data=data,
    )


def _findings(size: int, content: bytes, text: str, lines: list[str]) -> Iterator[Finding]:
    if size < FEWEST_TEXT_BYTES:
        yield Finding(
            rule="short_text",
            level="error",
            columns=[],
            figure=size,
            message=f"the file has {counted(size, 'byte')}; at least {FEWEST_TEXT_BYTES:,} are needed to train, "
            "validate and test",
            remedy="add text, or write a shorter data.length",
        )
    num_damaged = text.count("\ufffd") - content.count("\ufffd".encode())
    if num_damaged > 0 and num_damaged > 4:  # the end may cut a character
        yield Finding(
            rule="encoding",
            level="warning",
            columns=[],
            figure=num_damaged,
            message=f"{num_damaged:,} places are not UTF-8",
            remedy="save the file as UTF-8; until then only data.tokens: bytes reads it",
        )
    if len(lines) > 1:
        repeated = 1 - len(set(map(text_statistics.normalised, lines))) / len(lines)
        if repeated > _OFTEN:
            yield Finding(
                rule="repeated_lines",
                level="warning",
                columns=[],
                figure=repeated,
                message=f"{percent(repeated)} of the lines repeat an earlier line",
                remedy="remove them: what is in the training part and again in the test part, at the end, is no test",
            )


def _lines(lines: list[str]) -> Column | None:
    summary = text_statistics.describe(lines)
    if summary is None:
        return None
    return Column(
        name="lines",
        kind="sentences",
        treatment=f"windows of {TEXT_LENGTH} tokens, whatever the lines; the beginning trains, the end tests",
        num_missing=0,
        missing_share=0,
        num_distinct=len(lines) - summary.num_duplicates,
        texts=summary,
    )


def _spread(num: int) -> list[int]:
    """Return the places of the first, the middle and the last line, and of those between."""
    return sorted({round(share * (num - 1) / 4) for share in range(5)}) if num else []


def _cut(line: str) -> str:
    return line if len(line) <= _MAX_LENGTH else f"{line[: _MAX_LENGTH - 1]}…"
