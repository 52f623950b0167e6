"""Fills a competition's sample file with predictions: the same columns and the same order of rows."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from worker.training.bundle.answers import Answers
from worker.training.bundle.bundle import Bundle
from worker.training.bundle.files import detected_encoding
from worker.training.data.csv_file import read_csv
from worker.training.errors import ConfigError, MissingFile

_NUM_NAMED = 3


class Submission:
    """The rows of a sample file, and the predictions for them so far.

    The first column holds the ids, which are those of the data's column of the same name, or positions. With a further
    column per class it gets probabilities. A single further column gets the class or the value; if it has the name of a
    class, or its values in the sample are fractions, it gets the probability of that class, or of the second class of
    two.
    """

    def __init__(self, sample: pa.Table, bundle: Bundle) -> None:
        """Check that the columns fit the bundle.

        Raises:
            ConfigError: at `submission`, columns fit neither classes nor a single prediction.
        """
        self._sample = sample
        self._id, *self._columns = sample.column_names
        self._bundle = bundle
        self._ids: list[NDArray[Any]] = []
        self._parts: list[NDArray[Any]] = []
        self._classes = self._column_classes()

    @classmethod
    def read(cls, path: Path, bundle: Bundle) -> "Submission":
        """Read a sample file.

        Raises:
            ConfigError: at `submission`, the file can't be read, or does not fit the bundle.
        """
        if not path.is_file():
            raise MissingFile("submission", f"there is no file {str(path)!r} (looked for {path.absolute()})")
        try:
            sample = read_csv(detected_encoding(path), None, "submission", str(path))
        except ConfigError as error:
            raise ConfigError("submission", str(error).partition(": ")[2]) from None
        if sample.num_columns < 2 or not sample.num_rows:
            raise ConfigError("submission", f"{str(path)!r} must have a column of ids, one to predict, and rows")
        return cls(sample, bundle)

    def with_ids(self, answers: Answers, frame: Any) -> Answers:
        """Return the answers with the ids of the column that the sample's first column names, if there is one."""
        names = frame.column_names if isinstance(frame, pa.Table) else ()
        if self._id in names:
            return replace(answers, ids=np.array(frame.column(self._id).to_pylist()))
        return answers

    def add(self, answers: Answers) -> None:
        """Keep the predictions of one batch."""
        self._ids.append(answers.ids)
        if self._classes is not None:
            self._parts.append(answers.outputs[:, self._classes])
        elif answers.kind == "classification":
            self._parts.append(answers.outputs.argmax(1)[:, np.newaxis])
        else:
            self._parts.append(answers.outputs[:, np.newaxis])

    def filled(self) -> pa.Table:
        """Return the sample with the predictions.

        Raises:
            ConfigError: at `submission`, the data have no row for an id of the sample, or two rows, or further rows.
        """
        wanted = [str(each) for each in self._sample.column(self._id).to_pylist()]
        found = [str(each) for each in np.concatenate(self._ids).tolist()]
        row_of = {each: row for row, each in enumerate(found)}
        if len(row_of) < len(found):
            raise ConfigError("submission", f"the data have several rows of one id in {self._id!r}")
        if missing := [each for each in wanted if each not in row_of]:
            raise ConfigError(
                "submission", f"the data have no row for {len(missing):,} ids of the sample, such as {_some(missing)}"
            )
        if extra := set(found) - set(wanted):
            raise ConfigError(
                "submission",
                f"the sample has no row for {len(extra):,} ids of the data, such as {_some(sorted(extra))}",
            )
        rows = np.concatenate(self._parts)[[row_of[each] for each in wanted]]
        table = self._sample.select([self._id])
        for name, values in zip(self._columns, rows.T, strict=True):
            if self._classes is None and self._bundle.dataset.kind == "classification":
                table = table.append_column(name, self._class_column(values))
            else:
                table = table.append_column(name, pa.array(values))
        return table

    def _column_classes(self) -> NDArray[np.int64] | None:
        """Return the class of each column that gets a probability; None: one column gets classes or values."""
        dataset, columns = self._bundle.dataset, self._columns
        names = {str(name): index for index, name in enumerate(dataset.class_names)}
        if dataset.kind == "classification" and all(column in names for column in columns):
            return np.array([names[column] for column in columns])
        if len(columns) > 1:
            if dataset.kind != "classification":
                raise ConfigError(
                    "submission",
                    f"it has {len(columns)} columns to predict, but the model predicts one value: "
                    f"{', '.join(columns[:_NUM_NAMED])}",
                )
            unknown = [column for column in columns if column not in names]
            raise ConfigError(
                "submission",
                f"the columns {_some(unknown)} are no classes of the model, which are {_some(list(names))}",
            )
        values = self._sample.column(columns[0])
        are_fractions = pa.types.is_floating(values.type) and any(each % 1 for each in values.drop_null().to_pylist())
        if dataset.kind == "classification" and are_fractions:
            if len(names) != 2:
                raise ConfigError(
                    "submission",
                    f"column {columns[0]!r} holds fractions, but the model has {len(names)} classes, and "
                    "none has its name",
                )
            return np.array([1])
        return None

    def _class_column(self, indices: NDArray[Any]) -> pa.Array:
        names = [self._bundle.dataset.class_names[int(index)] for index in indices]
        kind = self._sample.column(self._columns[0]).type
        try:
            return pa.array(names, pa.string()).cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return pa.array(names, pa.string())


def _some(names: list[str]) -> str:
    return ", ".join(map(repr, names[:_NUM_NAMED])) + (", …" if len(names) > _NUM_NAMED else "")
