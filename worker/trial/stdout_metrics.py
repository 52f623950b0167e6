"""Extracts metrics from a program's output: regular expressions over its lines become one report per step."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from worker.training.errors import ConfigError

_LINE_END = re.compile(rb"[\r\n]")
"""A carriage return also ends a line, because progress bars use it."""


class Tail:
    """Reads the lines that are appended to a file from now on."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._file.seek(0, 2)
        self._rest = b""

    def lines(self, *, is_over: bool = False) -> list[str]:
        """Return the complete lines since the last call.

        With `is_over`, the unfinished last line is included, and the file is closed.
        """
        *lines, self._rest = _LINE_END.split(self._rest + self._file.read())
        if is_over:
            lines.append(self._rest)
            self._file.close()
        return [line.decode(errors="replace") for line in lines]


class MetricParser:
    """Parses metrics from lines.

    A step is complete when the objective's metric is found. It gets the newest value of every other metric since the
    previous step. Its number is the last match of the pattern `step`; without that pattern, steps are counted on from
    `last_step`. A step is not reported if the pattern `step` has not matched yet, or if it is not above the last one.
    """

    def __init__(
        self, patterns: Mapping[str, str], step: str | None, objective: str, last_step: int | None = None
    ) -> None:
        self._patterns = {name: re.compile(pattern) for name, pattern in patterns.items()}
        self._step_pattern = re.compile(step) if step is not None else None
        self._objective = objective
        self._last_step = last_step
        self._step: int | None = None
        self._metrics: dict[str, float] = {}

    def read(self, line: str) -> Iterator[tuple[int, dict[str, float]]]:
        """Yield the step that a line completes, if any, with its metrics.

        Raises:
            ConfigError: A pattern's group matched something other than a number.
        """
        if self._step_pattern is not None and (match := self._step_pattern.search(line)):
            self._step = int(_number("step", match))
        for name, pattern in self._patterns.items():
            if match := pattern.search(line):
                self._metrics[name] = _number(f"metrics.{name}", match)
        if self._objective not in self._metrics:
            return
        metrics, self._metrics = self._metrics, {}
        step = self._next_step()
        if step is not None and (self._last_step is None or step > self._last_step):
            self._last_step = step
            yield step, metrics

    def _next_step(self) -> int | None:
        if self._step_pattern is None:
            return (self._last_step or 0) + 1
        return self._step


def _number(path: str, match: re.Match[str]) -> float:
    try:
        return float(match[1])
    except ValueError:
        message = f"its group must match only a number; in {match[0]!r} it matched {match[1]!r}"
        raise ConfigError(f"task.command.{path}", message) from None
