"""Prepares rows of numbers for an estimator: one scale, TF-IDF of counts, and the columns most related to the target.

All statistics come from the training rows.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.feature_selection import SelectKBest, f_classif, f_regression
from sklearn.preprocessing import StandardScaler

from worker.training.estimators.example_rows import Table


class Preparation:
    """A preparation that is fitted on training rows; call it with other rows.

    Args:
        table: the training rows, [n, columns].
        targets: their targets, [n].
        are_classes: whether the targets are classes.
        max_columns: of more columns those are kept that an F-test finds most related to the target.
        is_scaled: whether columns are standardised. Counts of a sparse matrix become TF-IDF in any case.
        is_dense: whether a sparse matrix becomes an array.
    """

    def __init__(
        self,
        table: Table,
        targets: NDArray[Any],
        *,
        are_classes: bool,
        max_columns: int,
        is_scaled: bool,
        is_dense: bool,
    ) -> None:
        self._steps: list[Any] = []
        self._is_dense = is_dense
        # What no training row counts would only change the length of other rows.
        self._seen = np.flatnonzero(table.getnnz(axis=0)) if issparse(table) else None
        if self._seen is not None:
            table = table[:, self._seen]
            self._steps.append(TfidfTransformer(sublinear_tf=True))
        elif is_scaled:
            self._steps.append(StandardScaler())
        if table.shape[1] > max_columns:
            self._steps.append(SelectKBest(f_classif if are_classes else f_regression, k=max_columns))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a constant column has no F value, and is not kept
            for step in self._steps:
                table = step.fit(table, targets).transform(table)

    def __call__(self, table: Table) -> Table:
        """Return the prepared rows."""
        table = table if self._seen is None else table[:, self._seen]
        for step in self._steps:
            table = step.transform(table)
        return table.toarray() if self._is_dense and issparse(table) else table
