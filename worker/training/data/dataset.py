"""What training sees of any data: tensors per split and the facts that size a model; knows no file and no format."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Kind: TypeAlias = Literal["classification", "regression", "language", "ranking"]
Inputs: TypeAlias = Literal["rows", "images", "tokens", "queries"]
SplitName: TypeAlias = Literal["train", "val", "test", "test_val"]

RESIDENT_SHARE = 0.5
"""Of a GPU's free memory, for data; the rest is for the model, its gradients and activations."""


@dataclass(frozen=True)
class Split:
    """Examples and what they should give.

    Features are rows [n, num_features] float32, images [n, channels, height, width] float32 or uint8, tokens
    [n, length] int64, or queries [n, rows, num_features] float32. Targets are class indices [n] int64, standardised
    values [n, 1] float32, for each token the next one [n, length] int64, or for each row of a query its relevance
    [n, rows] float32, -1 where the query has no row. `ids` [n] int64 (of queries [n, rows]) are the examples' places in
    the data before it was split; None: those in this split, which came apart. `names` are the user's own ids, whole
    numbers or texts, by place.
    """

    features: Tensor
    targets: Tensor
    ids: Tensor | None = None
    names: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def num_bytes(self) -> int:
        return self.features.nbytes + self.targets.nbytes


@dataclass(frozen=True)
class Dataset:
    """Splits and their facts; `train` is always there, the others where the data has them.

    Regression targets are standardised by the training part: value = target · target_std + target_mean, in the
    column's own unit. Images of uint8 are standardised batch by batch with `pixel_mean` and `pixel_std`, both
    [channels, 1, 1]. The last `len(categories)` features of rows are indices of categories, each below the number given
    there. `vocabulary` counts the different tokens; 0 where features are numbers. `padding` is the token that fills
    short texts up, if there is one; `tokenizer` is where the tokens are from, None: they are the core's own.
    """

    kind: Kind
    splits: Mapping[SplitName, Split]
    class_names: tuple[str, ...] = ()
    target_mean: float = 0.0
    target_std: float = 1.0
    fingerprint: str | None = None
    """Of the examples before they are split; none: unknown."""
    pixel_mean: Tensor | None = None
    pixel_std: Tensor | None = None
    categories: tuple[int, ...] = ()
    vocabulary: int = 0
    padding: int | None = None
    tokenizer: str | None = None
    columns: tuple[str, ...] = ()
    """What was made of each column of the data, a line each."""
    device: torch.device = field(default=torch.device("cpu"))

    @property
    def train(self) -> Split:
        return self.splits["train"]

    @property
    def inputs(self) -> Inputs:
        """What a model is given."""
        if self.vocabulary:
            return "tokens"
        by_dimensions: dict[int, Inputs] = {1: "rows", 2: "queries", 3: "images"}
        return by_dimensions[len(self.shape)]

    @property
    def shape(self) -> tuple[int, ...]:
        """One example's: (num_features,), (channels, height, width), (length,) or (rows, num_features)."""
        return tuple(next(iter(self.splits.values())).features.shape[1:])

    @property
    def num_features(self) -> int:
        """Of an example; of a query, those of each row."""
        return self.shape[-1] if self.inputs == "queries" else torch.Size(self.shape).numel()

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 for regression."""
        return len(self.class_names)

    @property
    def num_outputs(self) -> int:
        """What a model has to give per example, or per token: a logit for each class, or one value."""
        return self.num_classes or 1

    @property
    def class_counts(self) -> Tensor:
        """Training examples, or tokens, of each class, [num_classes]."""
        return torch.bincount(self.train.targets.flatten(), minlength=self.num_classes)

    def batch(self, split: Split, chosen: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Features and targets of the chosen examples, on the device, as a model takes them."""
        features, targets = split.features[chosen], split.targets[chosen]
        if features.device != self.device:
            features, targets = (each.to(self.device, non_blocking=True) for each in (features, targets))
        if self.pixel_mean is not None and self.pixel_std is not None:
            features = (features - self.pixel_mean) / self.pixel_std
        return features, targets

    def numbered(self, ids: Mapping[SplitName, NDArray[np.int64]]) -> "Dataset":
        """The same data with the ids [n] of the splits named there."""
        numbers = {name: torch.from_numpy(each) for name, each in ids.items()}
        splits = {name: replace(split, ids=numbers.get(name)) for name, split in self.splits.items()}
        return replace(self, splits=splits)

    def named(self, names: Mapping[SplitName | None, NDArray[Any] | None]) -> "Dataset":
        """The same data with the user's ids, by place: of the splits that came apart, and (None) of the main data."""
        splits = {name: replace(split, names=names.get(name, names[None])) for name, split in self.splits.items()}
        return replace(self, splits=splits)

    def to(self, device: torch.device) -> "Dataset":
        """The same data for training on `device`: resident there where it fits, else brought there batch by batch."""
        resident = device
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if sum(split.num_bytes for split in self.splits.values()) > free * RESIDENT_SHARE:
                resident = torch.device("cpu")
        mean, std = (each if each is None else each.to(device) for each in (self.pixel_mean, self.pixel_std))
        splits = {
            name: replace(each, features=each.features.to(resident), targets=each.targets.to(resident))
            for name, each in self.splits.items()
        }
        return replace(self, splits=splits, pixel_mean=mean, pixel_std=std, device=device)
