"""Raw columns to a Dataset: split, standardise, impute and encode with statistics of the training part alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from worker.training.data.dataset import Dataset, Kind, Split, SplitName
from worker.training.data.splits import Splitting, split_indices
from worker.training.errors import ConfigError

_Encode: TypeAlias = Callable[[NDArray[Any]], NDArray[np.float64]]


@dataclass(frozen=True)
class Columns:
    """Examples before encoding: numeric [n, a] with NaN for missing, categorical [n, b] texts, targets [n].

    `one_unit` says that all numbers measure the same (pixels), so that one mean and one deviation scale them all.
    """

    numeric: NDArray[np.float64]
    categorical: NDArray[Any]
    targets: NDArray[Any]
    one_unit: bool = False

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, indices: NDArray[np.int64]) -> "Columns":
        return replace(
            self,
            numeric=self.numeric[indices],
            categorical=self.categorical[indices],
            targets=self.targets[indices],
        )


def assemble(
    main: Columns,
    given: Mapping[SplitName, Columns],
    kind: Kind,
    splitting: Splitting,
    class_names: tuple[str, ...] = (),
) -> Dataset:
    """The dataset of `main`, split as asked, and of the parts that are `given` apart; those aren't split off `main`.

    Numeric columns are standardised and missing values imputed by the median; categorical ones become one-hot, and a
    category that training never saw becomes all zeros. ConfigError for infinite numbers, a single class, or a
    class that training never saw.
    """
    labels = main.targets if kind == "classification" else None
    indices = split_indices(labels, len(main), splitting)
    parts: dict[SplitName, Columns] = {cast("SplitName", name): main.take(chosen) for name, chosen in indices.items()}
    parts |= given
    for name, part in parts.items():
        if np.isinf(part.numeric).any():
            raise ConfigError("data.features", f"the {name} examples hold infinite numbers; leave that column out")
    train = parts["train"]
    encode_numeric, encode_categorical = _fit_numeric(train), _fit_categorical(train)

    def features(part: Columns) -> torch.Tensor:
        blocks = [encode_numeric(part.numeric), encode_categorical(part.categorical)]
        return torch.from_numpy(np.concatenate(blocks, axis=1).astype(np.float32))

    if kind == "classification":
        classes = np.unique(train.targets)
        if len(classes) < 2:
            raise ConfigError("data.target", f"the training examples hold one class only: {classes[0]}")
        return Dataset(
            kind=kind,
            splits={name: Split(features(part), _class_indices(name, part, classes)) for name, part in parts.items()},
            class_names=class_names or tuple(str(label) for label in classes),
        )
    mean, std = float(train.targets.mean()), float(train.targets.std())
    if std == 0:
        raise ConfigError("data.target", f"every training example has the value {mean:g}; there is nothing to learn")

    def standardised(part: Columns) -> torch.Tensor:
        return torch.from_numpy(((part.targets - mean) / std).astype(np.float32)).unsqueeze(1)

    return Dataset(
        kind=kind,
        splits={name: Split(features(part), standardised(part)) for name, part in parts.items()},
        target_mean=mean,
        target_std=std,
    )


def _fit_numeric(train: Columns) -> _Encode:
    if not train.numeric.shape[1]:
        return lambda values: values
    if train.one_unit:
        mean, std = train.numeric.mean(), train.numeric.std()
        return lambda values: (values - mean) / std
    # A column with no value at all in training stays, as zeros: the width must not depend on the split.
    encoder = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
    return cast("_Encode", encoder.fit(train.numeric).transform)


def _fit_categorical(train: Columns) -> _Encode:
    if not train.categorical.shape[1]:
        return lambda values: values
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return cast("_Encode", encoder.fit(train.categorical).transform)


def _class_indices(name: str, part: Columns, classes: NDArray[Any]) -> torch.Tensor:
    unseen = set(part.targets.tolist()) - set(classes.tolist())
    if unseen:
        raise ConfigError("data.target", f"the {name} examples hold class {min(unseen)!r}, which training never saw")
    return torch.from_numpy(np.searchsorted(classes, part.targets).astype(np.int64))
