"""Converts raw targets to tensors: classes to indices, numbers to standardised values."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.training.data.dataset import Dataset, Kind, Split, SplitName
from worker.training.errors import ConfigError


def with_targets(
    features: Mapping[SplitName, Tensor],
    targets: Mapping[SplitName, NDArray[Any]],
    kind: Kind,
    class_names: tuple[str, ...] = (),
    *,
    where: str = "data.target",
) -> Dataset:
    """Return the dataset of encoded features and raw targets; classes and scale come from the training split.

    Args:
        features: encoded features of each split, [n, ...].
        targets: class labels or numbers of each split, [n].
        kind: classification or regression.
        class_names: the names of the classes in sorted order; empty: the labels themselves.
        where: the setting named in errors.

    Raises:
        ConfigError: at `where`, for a single class, a class that training never saw, or a target that never varies.
    """
    train = targets["train"]
    if kind == "classification":
        classes = np.unique(train)
        if len(classes) < 2:
            raise ConfigError(where, f"the training examples have only the class {classes[0]}; at least 2 are needed")
        splits = {
            name: Split(each, _class_indices(name, targets[name], classes, where)) for name, each in features.items()
        }
        return Dataset(kind, splits, class_names or tuple(str(label) for label in classes))
    mean, std = float(train.mean()), float(train.std())
    if std == 0:
        raise ConfigError(where, f"every training example has the value {mean:g}; there is nothing to learn")
    splits = {
        name: Split(each, torch.from_numpy(((targets[name] - mean) / std).astype(np.float32)).unsqueeze(1))
        for name, each in features.items()
    }
    return replace(Dataset(kind, splits), target_mean=mean, target_std=std)


def _class_indices(name: str, targets: NDArray[Any], classes: NDArray[Any], where: str) -> Tensor:
    unseen = set(targets.tolist()) - set(classes.tolist())
    if unseen:
        raise ConfigError(where, f"the {name} examples hold class {min(unseen)!r}, which no training example has")
    return torch.from_numpy(np.searchsorted(classes, targets).astype(np.int64))
