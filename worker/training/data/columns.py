"""Preprocesses raw columns into a Dataset: splits, standardises, imputes and encodes.

All statistics come from the training split.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.training.data.constant_features import constant_note, is_constant
from worker.training.data.dataset import Dataset, Kind, SplitName
from worker.training.data.preprocessing import Preprocessing
from worker.training.data.preprocessing.rows import Encoding, Missing, RowEncoding, fit_rows
from worker.training.data.ranking import with_queries
from worker.training.data.splits import SplitConstraint, Splitting, rows_of_trained_classes, split_indices
from worker.training.data.targets import with_targets
from worker.training.errors import ConfigError


@dataclass(frozen=True)
class TableColumns:
    """Examples before encoding.

    Attributes:
        numeric: [n, a], NaN where a value is missing.
        categorical: [n, b], texts.
        targets: [n].
        constraint: the constraint on the split; None: it is random.
        queries: [n], the number of each row's query, for ranking.
        names: the names of the numeric columns, then of the categorical ones; empty: they have none.
    """

    numeric: NDArray[np.float64]
    categorical: NDArray[Any]
    targets: NDArray[Any]
    constraint: SplitConstraint | None = None
    queries: NDArray[np.int64] | None = None
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, indices: NDArray[np.int64]) -> "TableColumns":
        """Return the examples at `indices` [n], without the constraint on the split."""
        return replace(
            self,
            numeric=self.numeric[indices],
            categorical=self.categorical[indices],
            targets=self.targets[indices],
            constraint=None,
            queries=None if self.queries is None else self.queries[indices],
        )


def assemble(
    main: TableColumns,
    separate: Mapping[SplitName, TableColumns],
    kind: Kind,
    splitting: Splitting,
    preprocessing: Callable[[RowEncoding], Preprocessing],
    *,
    encoding: Encoding = "onehot",
    missing: Missing = "median",
    class_names: tuple[str, ...] = (),
) -> Dataset:
    """Split, preprocess and encode columns.

    Numeric columns are standardised, and missing values imputed by the training median. Categorical columns become
    one-hot features, where an unknown category is all zeros. Or they become indices for a model to embed, with one
    index more for unknown categories.

    Args:
        main: the examples to split.
        separate: splits with a file of their own; these are not split off `main`.
        kind: the kind of task.
        splitting: how to split `main`.
        preprocessing: returns the dataset's preprocessing, given the encoding that is fitted on the training rows.
        encoding: how categorical columns are encoded.
        missing: what happens to missing numbers.
        class_names: the names of the classes in sorted order; empty: the labels.

    Raises:
        ConfigError: numbers are missing and `missing` is "refuse", or no such split is possible.
    """
    labels = main.targets if kind == "classification" else None
    indices = split_indices(labels, len(main), splitting.without_separate(separate), main.constraint)
    parts: dict[SplitName, TableColumns] = {name: main.take(rows) for name, rows in indices.items()}
    kept = rows_of_trained_classes(
        {name: part.targets for name, part in separate.items()}, parts["train"].targets, splitting
    )
    parts |= {name: part.take(kept[name]) if name in kept else part for name, part in separate.items()}
    for name, part in parts.items():
        if missing == "refuse" and np.isnan(part.numeric).any():
            raise ConfigError(
                "data.missing",
                f"the {name} examples have missing numbers; remove those rows, or set data.missing: median",
            )
    train = parts["train"]
    rows = fit_rows(train.numeric, train.categorical, encoding=encoding, missing=missing)
    encoded = {name: rows.encode(part.numeric, part.categorical) for name, part in parts.items()}
    targets = {name: part.targets for name, part in parts.items()}
    queries = {name: part.queries for name, part in parts.items() if part.queries is not None}
    if queries:
        dataset = with_queries(encoded, targets, queries, indices)
    else:
        dataset = with_targets(encoded, targets, kind, class_names).with_ids(indices | kept)
    return replace(
        dataset,
        categories=rows.categorical.num_indices,
        columns=constant_note(_constant(train, missing)),
        preprocessing=preprocessing(rows),
    )


def _constant(train: TableColumns, missing: Missing) -> list[str]:
    """Return the names of the columns with one value in all training examples."""
    numeric = [is_constant(values, missing_counts=missing == "indicator") for values in train.numeric.T]
    categorical = [bool((values == values[0]).all()) for values in train.categorical.T]
    return [name for name, constant in zip(train.names, [*numeric, *categorical], strict=bool(train.names)) if constant]
