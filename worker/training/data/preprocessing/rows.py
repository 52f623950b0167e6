"""Encoding of a table's rows, fitted on the training rows: medians, indicators, scale, and categories in order."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import Tensor

Encoding: TypeAlias = Literal["onehot", "embedded"]
Missing: TypeAlias = Literal["median", "indicator", "refuse"]


@dataclass(frozen=True)
class NumericEncoding:
    """Imputes and standardises numeric columns.

    Attributes:
        medians: what replaces a missing value of each column.
        indicators: the columns (counted from 0) for which a feature says whether the value was missing.
        means: the mean of each feature: the columns, then the indicators.
        deviations: the standard deviation of each feature; 1 where it does not vary.
    """

    medians: tuple[float, ...] = ()
    indicators: tuple[int, ...] = ()
    means: tuple[float, ...] = ()
    deviations: tuple[float, ...] = ()

    def encode(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the features of values [n, columns], which are NaN where missing, as [n, len(means)]."""
        missing = np.isnan(values)
        filled = np.where(missing, np.array(self.medians), values)
        features = np.concatenate([filled, missing[:, list(self.indicators)].astype(np.float64)], axis=1)
        encoded: NDArray[np.float64] = (features - np.array(self.means)) / np.array(self.deviations)
        return encoded


@dataclass(frozen=True)
class CategoricalEncoding:
    """Encodes categorical columns as a feature per category, or as indices.

    Attributes:
        categories: the categories of each column in the order of their features or indices.
        encoding: `onehot`: an unknown category is all zeros. `embedded`: a column is one index from 1, and an unknown
            category has the index 0.
    """

    categories: tuple[tuple[str, ...], ...] = ()
    encoding: Encoding = "onehot"

    @property
    def num_indices(self) -> tuple[int, ...]:
        """The number of indices of each column, the one for unknown categories included; empty for `onehot`."""
        return () if self.encoding == "onehot" else tuple(len(each) + 1 for each in self.categories)

    def encode(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return the features of texts [n, columns]."""
        blocks: list[NDArray[np.float64]] = [np.empty((len(values), 0))]
        for column, known in zip(values.T, self.categories, strict=True):
            index_of: Mapping[str, int] = {category: index for index, category in enumerate(known)}
            indices = np.array([index_of.get(text, -1) for text in column], dtype=np.int64)
            if self.encoding == "onehot":
                blocks.append((indices[:, np.newaxis] == np.arange(len(known))).astype(np.float64))
            else:
                blocks.append((indices + 1).astype(np.float64)[:, np.newaxis])
        return np.concatenate(blocks, axis=1)

    def num_unknown(self, values: NDArray[Any]) -> list[int]:
        """Return for each column of texts [n, columns] how many are unknown categories."""
        return [
            sum(text not in known for text in column)
            for column, known in zip(values.T, map(set, self.categories), strict=True)
        ]


@dataclass(frozen=True)
class RowEncoding:
    """Encodes rows of numbers and categories as training did.

    Attributes:
        numeric: encodes the numeric columns.
        categorical: encodes the categorical columns.
        missing: what training did about missing numbers.
    """

    numeric: NumericEncoding
    categorical: CategoricalEncoding
    missing: Missing = "median"

    def encode(self, numeric: NDArray[np.float64], categorical: NDArray[Any]) -> Tensor:
        """Return the features [n, num_features], float32: first those of the numeric columns.

        Args:
            numeric: [n, a], NaN where a value is missing.
            categorical: [n, b], texts.
        """
        blocks = [self.numeric.encode(numeric), self.categorical.encode(categorical)]
        return torch.from_numpy(np.concatenate(blocks, axis=1).astype(np.float32))


def fit_rows(
    numeric: NDArray[np.float64], categorical: NDArray[Any], *, encoding: Encoding, missing: Missing
) -> RowEncoding:
    """Fit the encoding on training rows.

    Args:
        numeric: [n, a], NaN where a value is missing.
        categorical: [n, b], texts.
        encoding: how categorical columns are encoded.
        missing: what happens to missing numbers.
    """
    categories: tuple[tuple[str, ...], ...] = ()
    if categorical.shape[1]:
        fitted = OneHotEncoder(handle_unknown="ignore").fit(categorical)
        categories = tuple(tuple(str(category) for category in each) for each in fitted.categories_)
    return RowEncoding(_fit_numeric(numeric, missing), CategoricalEncoding(categories, encoding), missing)


def _fit_numeric(values: NDArray[np.float64], missing: Missing) -> NumericEncoding:
    if not values.shape[1]:
        return NumericEncoding()
    # A column without values in training is kept as zeros, so that the width does not depend on the split.
    imputer = SimpleImputer(strategy="median", keep_empty_features=True, add_indicator=missing == "indicator")
    scaler = StandardScaler().fit(imputer.fit_transform(values))
    indicators = imputer.indicator_.features_ if missing == "indicator" else ()
    return NumericEncoding(
        tuple(float(each) for each in imputer.statistics_),
        tuple(int(each) for each in indicators),
        tuple(float(each) for each in scaler.mean_),
        tuple(float(each) for each in scaler.scale_),
    )
