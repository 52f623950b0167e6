"""The table of a study's trials: selects columns, filters and sorts, then prints or writes CSV, JSON or Parquet."""

from __future__ import annotations

import csv
import io
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from service.client import study_file
from service.client.errors import invalid_study
from service.contract.base import Direction
from service.contract.report import from_wire
from service.contract.study import StudySpec
from service.contract.trial import TrialView
from service.contract.validation_errors import did_you_mean

Row = dict[str, Any]
"""Column -> value of one trial. None where the trial has no value."""

_FACTS: Mapping[str, Callable[[TrialView], Any]] = {
    "number": lambda trial: trial.number,
    "state": lambda trial: trial.state.value,
    "value": lambda trial: trial.values[0] if trial.values else None,
    "step": lambda trial: trial.step,
    "attempts": lambda trial: trial.num_attempts,
    "infeasible": lambda trial: trial.infeasible,
    "stage": lambda trial: trial.stage,
    "duration": lambda trial: (
        (trial.finished_at - trial.started_at).total_seconds() if trial.finished_at and trial.started_at else None
    ),
    "created": lambda trial: trial.created_at,
    "started": lambda trial: trial.started_at,
    "finished": lambda trial: trial.finished_at,
    "chosen": lambda trial: trial.suggestion_reason,
    "reason": lambda trial: trial.state_reason,
}
"""Columns of every study. `duration` is in seconds, from the first attempt's start to the trial's end."""

_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_CONDITION = re.compile(r"^(?P<column>[^=<>!]+?)\s*(?P<operator>!=|>=|<=|=|>|<)\s*(?P<value>.*)$")


class TrialTable:
    """The trials of one study. Every method returns or writes the rows that are still selected."""

    def __init__(self, spec: StudySpec, trials: Iterable[TrialView]) -> None:
        trials = list(trials)
        self._directions: dict[str, Direction] = {each.metric: each.direction for each in spec.objectives}
        self._directions["value"] = spec.primary_objective.direction
        parameters = dict.fromkeys([*spec.space, *(name for trial in trials for name in trial.parameters)])
        objectives = [each.metric for each in spec.objectives]
        measured = dict.fromkeys(name for trial in trials for name in trial.metrics)
        self.columns = list(dict.fromkeys([*_FACTS, *objectives, *parameters, *measured]))
        self.usual = ["number", "state", *objectives, "step", *parameters, "reason"]
        self.trials = {trial.id: trial for trial in trials}
        self.rows: dict[str, Row] = {trial.id: _row(trial, objectives) for trial in trials}

    def filter(self, conditions: Iterable[str]) -> None:
        """Keep the trials that meet every condition, such as `state=completed` or `optimizer.lr>1e-3`.

        Raises:
            InvalidStudy: a condition cannot be parsed, or names an unknown column.
        """
        for condition in conditions:
            match = _CONDITION.match(condition)
            if match is None:
                raise invalid_study(
                    "--filter", f"{condition!r} is not a condition; write COLUMN=VALUE, or one of != > >= < <="
                )
            column = self.column(match["column"], "--filter")
            expected = study_file.read(match["value"], source="--filter")
            compare = _OPERATORS[match["operator"]]
            self.rows = {key: row for key, row in self.rows.items() if _meets(row.get(column), expected, compare)}

    def sort(self, column: str, *, reverse: bool) -> None:
        """Sort by a column, with trials without a value last.

        An objective is sorted from its best value on, any other column in ascending order. `reverse` inverts the order.
        """
        column = self.column(column, "--sort")
        descending = (self._directions.get(column) == "maximize") != reverse
        having = [item for item in self.rows.items() if item[1].get(column) is not None]
        lacking = [item for item in self.rows.items() if item[1].get(column) is None]
        having.sort(key=lambda item: _key(item[1][column]), reverse=descending)
        self.rows = dict([*having, *lacking])

    def limit(self, num: int) -> int:
        """Keep the first `num` trials. Return the number of dropped trials."""
        left_out = max(0, len(self.rows) - num)
        self.rows = dict(list(self.rows.items())[:num])
        return left_out

    def column(self, column: str, flag: str) -> str:
        """Return the name of a column after checking that it exists.

        Raises:
            InvalidStudy: the study has no such column. `flag` is the flag that named it.
        """
        if column not in self.columns:
            raise invalid_study(flag, f"there is no column {column!r}; {did_you_mean(column, self.columns)}")
        return column

    def page(self, columns: Sequence[str]) -> RenderableType:
        """Return the rows as a table for a terminal."""
        table = Table(*columns, box=None, pad_edge=False)
        for row in self.rows.values():
            table.add_row(*(_shown(row.get(column)) for column in columns))
        return table if table.row_count else Text("no trial is left to show")

    def csv(self, columns: Sequence[str]) -> str:
        """Return CSV with a header and a line per trial. Floats have all their digits."""
        written = io.StringIO()
        writer = csv.writer(written, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_plain(row.get(column)) for column in columns] for row in self.rows.values())
        return written.getvalue()

    def mappings(self, columns: Sequence[str]) -> list[Row]:
        """Return a mapping from column to value for each trial, with values that JSON can hold."""
        return [{column: _json(row.get(column)) for column in columns} for row in self.rows.values()]

    def views(self) -> list[dict[str, Any]]:
        """Return the trials as the API returns them."""
        return [self.trials[key].model_dump(mode="json") for key in self.rows]

    def write_parquet(self, path: str, columns: Sequence[str]) -> None:
        """Write the rows to a Parquet file. A column of mixed types is written as text.

        Raises:
            InvalidStudy: pyarrow is not installed, or the file cannot be written.
        """
        try:
            import pyarrow as pa  # noqa: PLC0415 - only this needs it
            from pyarrow import parquet  # noqa: PLC0415
        except ImportError:
            raise invalid_study("--parquet", "needs pyarrow; pip install pyarrow, or write --csv") from None
        arrays = {}
        for column in columns:
            values = [row.get(column) for row in self.rows.values()]
            try:
                arrays[column] = pa.array(values)
            except (pa.ArrowInvalid, pa.ArrowTypeError):
                arrays[column] = pa.array([None if value is None else str(value) for value in values])
        try:
            parquet.write_table(pa.table(arrays), Path(path))
        except OSError as error:
            raise invalid_study(path, f"cannot be written: {error.strerror or error}") from None


def _row(trial: TrialView, objectives: Sequence[str]) -> Row:
    """Build a trial's row.

    If names collide, objectives override facts, facts override parameters, and those override metrics.
    """
    values = dict(zip(objectives, trial.values or [], strict=False))
    measured = {name: from_wire(value) for name, value in trial.metrics.items()}
    facts = {name: read(trial) for name, read in _FACTS.items()}
    return {**measured, **trial.parameters, **facts, **dict.fromkeys(objectives), **values}


def _meets(value: Any, expected: Any, compare: Callable[[Any, Any], bool]) -> bool:
    if compare in (operator.eq, operator.ne):
        return (
            compare(value, expected)
            if _is_number(expected) or expected is None
            else compare(_text(value), _text(expected))
        )
    if _is_number(value) and _is_number(expected):
        return compare(value, expected)
    return value is not None and not _is_number(value) and compare(_text(value), _text(expected))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _key(value: Any) -> tuple[int, Any]:
    """Return a sort key for columns of mixed types: numbers first, then texts."""
    return (0, value) if _is_number(value) else (1, _text(value))


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else _text(value)


def _plain(value: Any) -> Any:
    return value if value is None or _is_number(value) else _text(value)


def _json(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):  # noqa: PLR0124
        return str(value)
    return value.isoformat() if hasattr(value, "isoformat") else value
