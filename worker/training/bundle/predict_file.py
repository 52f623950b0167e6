"""Predicts on a file by a bundle, batch by batch, and writes the predictions or fills a competition's file."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import parquet as arrow_parquet

from worker.training.bundle.answers import Answers
from worker.training.bundle.bundle import Bundle
from worker.training.bundle.files import read_batches
from worker.training.bundle.submission import Submission
from worker.training.errors import ConfigError


@dataclass(frozen=True)
class Summary:
    """What a run predicted.

    Attributes:
        rows: the number of predictions.
        out: the file they are in.
        kind: the kind of task.
        classes: how often each class was predicted; empty for other kinds.
        mean: the mean of the values; None for classifications.
        notes: what the user should know about the examples.
    """

    rows: int
    out: str
    kind: str
    classes: dict[str, int]
    mean: float | None
    notes: tuple[str, ...]


def predict_file(
    bundle: Bundle,
    data: Path,
    out: Path,
    *,
    encoding: str | None = None,
    impute_columns: bool = False,
    submission: Path | None = None,
    on_progress: Callable[[int, float], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Summary:
    """Predict on the examples in a file, and write the predictions to another, which is complete or not there.

    Args:
        bundle: the models.
        data: the file or folder of examples.
        out: a .csv or .parquet file.
        encoding: the encoding of a CSV or text file; None: it is detected.
        impute_columns: whether a missing column counts as a column of missing values.
        submission: a competition's sample file, whose columns and order of rows `out` gets; None: all columns.
        on_progress: called with the number of predictions so far and the share of the file that is done; None: not.
        on_note: called once with each note; None: not.

    Raises:
        ConfigError: the file can't be predicted on; the message names the column and the row.
    """
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise ConfigError("out", f"the file's name must end with .csv or .parquet, got {str(out)!r}")
    if not out.parent.is_dir():
        raise ConfigError("out", f"there is no folder {str(out.parent)!r}; make it first")
    sample = None if submission is None else Submission.read(submission, bundle)
    tally = _Tally(bundle)
    partial = out.with_name(f"{out.name}.partial")
    writer: Any = None
    try:
        for answers, share in _answers(bundle, data, encoding, impute_columns, sample):
            new_notes = tally.add(answers)
            if on_note is not None:
                for note in new_notes:
                    on_note(note)
            if sample is not None:
                sample.add(answers)
            else:
                table = answers.to_table(bundle.id_name)
                writer = writer or _writer(partial, out.suffix.lower(), table.schema)
                writer.write_table(table)
            if on_progress is not None:
                on_progress(tally.rows, share)
        if sample is not None:
            filled = sample.filled()
            writer = _writer(partial, out.suffix.lower(), filled.schema)
            writer.write_table(filled)
        writer.close()
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return tally.summary(out)


class _Tally:
    """Counts the predictions of a run, batch by batch."""

    def __init__(self, bundle: Bundle) -> None:
        self.rows = 0
        self._kind, self._names = bundle.dataset.kind, bundle.dataset.class_names
        self._counts = np.zeros(len(self._names), dtype=np.int64)
        self._total = 0.0
        self._notes: list[str] = []

    def add(self, answers: Answers) -> list[str]:
        """Count a batch, and return its notes that no batch before had."""
        self.rows += len(answers)
        if answers.kind == "classification":
            self._counts += np.bincount(answers.outputs.argmax(1), minlength=len(self._counts))
        else:
            self._total += float(answers.outputs.sum(dtype=np.float64))
        new = [note for note in answers.notes if note not in self._notes]
        self._notes += new
        return new

    def summary(self, out: Path) -> Summary:
        """Return the summary of all batches."""
        is_classes = self._kind == "classification"
        classes = dict(zip(self._names, self._counts.tolist(), strict=True)) if is_classes else {}
        mean = None if is_classes else self._total / self.rows
        return Summary(self.rows, str(out), self._kind, classes, mean, tuple(self._notes))


class _CsvWriter:
    """Writes tables to a CSV file; texts are quoted only where they need it."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.schema = schema
        self._writer = arrow_csv.CSVWriter(path, schema, write_options=arrow_csv.WriteOptions(quoting_style="needed"))

    def write_table(self, table: pa.Table) -> None:
        """Append a table."""
        self._writer.write_table(table)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


def _writer(path: Path, suffix: str, schema: pa.Schema) -> Any:
    return _CsvWriter(path, schema) if suffix == ".csv" else arrow_parquet.ParquetWriter(path, schema)


def _answers(
    bundle: Bundle, data: Path, encoding: str | None, impute_columns: bool, sample: Submission | None
) -> Iterator[tuple[Answers, float]]:
    for batch in read_batches(data, bundle, encoding=encoding):
        answers = bundle.predict(
            batch.frame, impute_columns=impute_columns, first=batch.first, describe_row=batch.describe_row
        )
        if sample is not None:
            answers = sample.with_ids(answers, batch.frame)
        yield answers, batch.share
