"""Raw columns to a Dataset: split, standardise, impute and encode with statistics of the training part alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from worker.training.data.dataset import Dataset, Kind, SplitName
from worker.training.data.queries import with_queries
from worker.training.data.splits import Order, Splitting, split_indices
from worker.training.data.targets import with_targets
from worker.training.errors import ConfigError

Encoding: TypeAlias = Literal["onehot", "embedded"]
Missing: TypeAlias = Literal["median", "indicator", "refuse"]

_Encode: TypeAlias = Callable[[NDArray[Any]], NDArray[np.float64]]


@dataclass(frozen=True)
class Columns:
    """Examples before encoding: numeric [n, a] with NaN for missing, categorical [n, b] texts, targets [n].

    `order` is what splits them, where chance doesn't; `queries` [n] number the queries of a ranking.
    """

    numeric: NDArray[np.float64]
    categorical: NDArray[Any]
    targets: NDArray[Any]
    order: Order | None = None
    queries: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, indices: NDArray[np.int64]) -> "Columns":
        return replace(
            self,
            numeric=self.numeric[indices],
            categorical=self.categorical[indices],
            targets=self.targets[indices],
            order=None,
            queries=None if self.queries is None else self.queries[indices],
        )


def assemble(
    main: Columns,
    given: Mapping[SplitName, Columns],
    kind: Kind,
    splitting: Splitting,
    *,
    encoding: Encoding = "onehot",
    missing: Missing = "median",
    class_names: tuple[str, ...] = (),
) -> Dataset:
    """The dataset of `main`, split as asked, and of the parts that are `given` apart; those aren't split off `main`.

    Numeric columns are standardised and missing values imputed by the median. Categorical ones become one-hot, and a
    category that training never saw all zeros; or they become indices for a model to embed, with one more for such a
    category. ConfigError for missing numbers where those are refused.
    """
    labels = main.targets if kind == "classification" else None
    indices = split_indices(labels, len(main), splitting.beside(given), main.order)
    parts: dict[SplitName, Columns] = {name: main.take(chosen) for name, chosen in indices.items()}
    parts |= given
    for name, part in parts.items():
        if missing == "refuse" and np.isnan(part.numeric).any():
            raise ConfigError("data.missing", f"the {name} examples lack numbers; remove those rows, or impute: median")
    train = parts["train"]
    encode_numeric = _fit_numeric(train, missing)
    encode_categorical, categories = _fit_categorical(train, encoding)

    def features(part: Columns) -> torch.Tensor:
        blocks = [encode_numeric(part.numeric), encode_categorical(part.categorical)]
        return torch.from_numpy(np.concatenate(blocks, axis=1).astype(np.float32))

    encoded = {name: features(part) for name, part in parts.items()}
    targets = {name: part.targets for name, part in parts.items()}
    queries = {name: part.queries for name, part in parts.items() if part.queries is not None}
    if queries:
        return replace(with_queries(encoded, targets, queries, indices), categories=categories)
    return replace(with_targets(encoded, targets, kind, class_names).numbered(indices), categories=categories)


def _fit_numeric(train: Columns, missing: Missing) -> _Encode:
    if not train.numeric.shape[1]:
        return lambda values: values
    # A column with no value at all in training stays, as zeros: the width must not depend on the split.
    imputer = SimpleImputer(strategy="median", keep_empty_features=True, add_indicator=missing == "indicator")
    return cast("_Encode", make_pipeline(imputer, StandardScaler()).fit(train.numeric).transform)


def _fit_categorical(train: Columns, encoding: Encoding) -> tuple[_Encode, tuple[int, ...]]:
    """The encoder, and how many categories each of its columns has where it gives indices."""
    if not train.categorical.shape[1]:
        return (lambda values: values), ()
    if encoding == "onehot":
        one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(train.categorical)
        return cast("_Encode", one_hot.transform), ()
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1).fit(train.categorical)

    def indices(values: NDArray[Any]) -> NDArray[np.float64]:
        return cast("NDArray[np.float64]", ordinal.transform(values)) + 1

    return indices, tuple(len(known) + 1 for known in ordinal.categories_)
