"""Renders predictions: files as CSV or JSON, the list of trials that have one, and confusion matrices."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from service.cli.render.formatting import number
from service.client.errors import invalid_study
from service.contract.predictions import Confusion, PredictionsList

_WIDEST = 16
"""The largest number of classes shown as a full table.

With more, each class shows only its most frequent confusions.
"""

_NUM_CONFUSIONS = 3


class PredictionTable:
    """The rows of a predictions file, of one split or of all."""

    def __init__(self, content: bytes, split: str | None, source: str) -> None:
        """Read the file's content.

        Raises:
            InvalidStudy: pyarrow is not installed, or the split is not in the file.
        """
        try:
            from pyarrow import compute, parquet  # noqa: PLC0415 - only a worker must have it
        except ImportError:
            raise invalid_study(
                source, "needs pyarrow to be read; pip install pyarrow, or take the file by --out"
            ) from None
        table = parquet.read_table(io.BytesIO(content))
        splits = compute.cast(table.column("split"), "string")
        if split is not None:
            recorded_splits = compute.unique(splits).to_pylist()
            if split not in recorded_splits:
                raise invalid_study(
                    source, f"has no predictions on the split {split!r}, but on {' and '.join(recorded_splits)}"
                )
            table = table.filter(compute.equal(splits, split))
        self._table = table

    def csv(self) -> str:
        """Return CSV with a header and a line per example."""
        from pyarrow import string  # noqa: PLC0415

        written = io.StringIO()
        writer = csv.writer(written, lineterminator="\n")
        writer.writerow(self._table.column_names)
        # pyarrow's cast writes single precision with no more digits than it has.
        columns = [each.cast(string()).to_pylist() for each in self._table.columns]
        writer.writerows(zip(*columns, strict=True))
        return written.getvalue()

    def columns(self) -> dict[str, list[Any]]:
        """Return the values of each column."""
        columns: dict[str, list[Any]] = self._table.to_pydict()
        return columns

    def arrays(self) -> dict[str, Any]:
        """Return the values of each column as a NumPy array."""
        from pyarrow import string, types  # noqa: PLC0415

        columns = {name: self._table.column(name) for name in self._table.column_names}
        return {
            name: (column.cast(string()) if types.is_dictionary(column.type) else column).to_numpy()
            for name, column in columns.items()
        }

    def mappings(self) -> list[dict[str, Any]]:
        """Return a mapping from column to value for each example."""
        rows: list[dict[str, Any]] = self._table.to_pylist()
        return rows


def list_page(predictions: PredictionsList) -> RenderableType:
    """List the trials whose predictions are kept."""
    if not predictions.trials:
        return "no predictions are stored yet; the service keeps those of the best completed trials"
    table = Table("trial", "value", "KiB", box=None, pad_edge=False)
    for each in predictions.trials:
        name = each.trial if each.number is None else str(each.number)
        table.add_row(name, ", ".join(map(number, each.values or [])), f"{each.size / 1024:.0f}")
    return table


def confusion_page(confusion: Confusion, split: str, source: str) -> RenderableType:
    """Render a confusion matrix with true classes in rows, predicted classes in columns, and the recall of each class.

    Raises:
        InvalidStudy: there is no confusion matrix of the split.
    """
    counts = confusion.splits.get(split)
    if counts is None:
        raise invalid_study(
            source, f"has no confusion matrix of the split {split!r}, but of {' and '.join(confusion.splits)}"
        )
    total, right = sum(map(sum, counts)), sum(row[at] for at, row in enumerate(counts))
    title = Text(f"{right} of {total} examples of the split {split} are right; rows: true, columns: predicted")
    return Group(title, Text(), _table(confusion.classes, counts))


def _table(classes: Sequence[str], counts: Sequence[Sequence[int]]) -> Table:
    is_wide = len(classes) > _WIDEST
    columns = ["examples"] if is_wide else list(classes)
    table = Table("true", *columns, "recall", *(["taken for"] if is_wide else []), box=None, pad_edge=False)
    for column in table.columns[1 : len(columns) + 2]:
        column.justify = "right"
    for at, (name, row) in enumerate(zip(classes, counts, strict=True)):
        recall = f"{row[at] / sum(row):.3f}" if sum(row) else "none"
        if is_wide:
            table.add_row(name, str(sum(row)), recall, _mistakes(classes, row, at))
        else:
            cells = [Text(str(num), style="bold" if to == at else "" if num else "dim") for to, num in enumerate(row)]
            table.add_row(name, *cells, recall)
    return table


def _mistakes(classes: Sequence[str], row: Sequence[int], index: int) -> str:
    """Return the classes that this class is most often mistaken for."""
    others = sorted((-num, to) for to, num in enumerate(row) if num and to != index)
    return ", ".join(f"{classes[to]} ({-num})" for num, to in others[:_NUM_CONFUSIONS])
