"""The dataset as training sees it: tensors per split, and the facts that size a model; independent of file formats."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.training.data.preprocessing import Preprocessing
from worker.training.seeding import generator

Kind: TypeAlias = Literal["classification", "regression", "language", "ranking"]
"""The kind of task: `language` predicts the next token, and `ranking` orders the rows of each query."""
Inputs: TypeAlias = Literal["rows", "images", "tokens", "queries"]
"""What one example is: a row of numbers, an image, a sequence of tokens, or a query with its rows."""
SplitName: TypeAlias = Literal["train", "val", "test", "test_val"]
"""`test_val` is a second validation set, drawn from the distribution of the test set."""

MEASURED_TRAIN_EXAMPLES = 256
"""The number of training examples on which `train/…` metrics are measured; as many as validate, if that is more."""

RESIDENT_SHARE = 0.5
"""The share of a GPU's free memory that data may take; the rest is for the model, its gradients and activations."""


@dataclass(frozen=True)
class Split:
    """Examples and their targets.

    Attributes:
        features: rows [n, num_features] float32, images [n, channels, height, width] float32 or uint8, tokens
            [n, length] int64, or queries [n, rows, num_features] float32.
        targets: class indices [n] int64, standardised values [n, 1] float32, the next token of each token [n, length]
            int64, or the relevance of each row of a query [n, rows] float32, -1 where the query has no row.
        ids: [n] int64 (for queries [n, rows]), the examples' positions in the data before it was split; None: their
            positions in this split, which has its own file.
        names: the user's own ids (whole numbers or texts) by position; None: the data has none.
    """

    features: Tensor
    targets: Tensor
    ids: Tensor | None = None
    names: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def num_bytes(self) -> int:
        """Bytes of features and targets."""
        return self.features.nbytes + self.targets.nbytes


@dataclass(frozen=True)
class Dataset:
    """The splits of a dataset and their facts; `train` always exists, the others if the data has them.

    Regression targets are standardised on the training set: value = target · target_std + target_mean, in the column's
    own unit. Images of uint8 are standardised batch by batch.

    Attributes:
        kind: the kind of task.
        splits: the examples by split.
        class_names: the classes in the order of their indices; empty for regression and ranking.
        target_mean: the mean of the training targets.
        target_std: the standard deviation of the training targets.
        pixel_mean: the mean of training pixels, [channels, 1, 1]; None: images are standardised already.
        pixel_std: the standard deviation of training pixels, [channels, 1, 1].
        categories: the last `len(categories)` features of rows are category indices, each below the number given here.
        vocabulary: the number of different tokens; 0 if features are numbers.
        padding: the token that pads short texts; None: there is none.
        tokenizer: the source of the tokenizer; None: the tokens are the core's own.
        device: where batches are needed.
    """

    kind: Kind
    splits: Mapping[SplitName, Split]
    class_names: tuple[str, ...] = ()
    target_mean: float = 0.0
    target_std: float = 1.0
    fingerprint: str | None = None
    """SHA-256 that identifies the data before it is split; None: unknown."""
    pixel_mean: Tensor | None = None
    pixel_std: Tensor | None = None
    categories: tuple[int, ...] = ()
    vocabulary: int = 0
    padding: int | None = None
    tokenizer: str | None = None
    columns: tuple[str, ...] = ()
    """How each column of the data is used, one line each, and a line on those with one value, if there are any."""
    preprocessing: Preprocessing | None = None
    """How the training's raw examples became features, to encode new ones; None: the data source does not say."""
    device: torch.device = field(default=torch.device("cpu"))

    @property
    def train(self) -> Split:
        return self.splits["train"]

    @property
    def inputs(self) -> Inputs:
        """What one example is, as far as a model is concerned."""
        if self.vocabulary:
            return "tokens"
        by_dimensions: dict[int, Inputs] = {1: "rows", 2: "queries", 3: "images"}
        return by_dimensions[len(self.shape)]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example: (num_features,), (channels, height, width), (length,) or (rows, num_features)."""
        return tuple(next(iter(self.splits.values())).features.shape[1:])

    @property
    def num_features(self) -> int:
        """The number of features of an example; for queries that of each row."""
        return self.shape[-1] if self.inputs == "queries" else torch.Size(self.shape).numel()

    @property
    def num_classes(self) -> int:
        """The number of classes; 0 for regression and ranking."""
        return len(self.class_names)

    @property
    def num_outputs(self) -> int:
        """The number of outputs per example, or per token: a logit for each class, or one value."""
        return self.num_classes or 1

    @property
    def class_counts(self) -> Tensor:
        """The number of training examples, or tokens, of each class, [num_classes]."""
        return torch.bincount(self.train.targets.flatten(), minlength=self.num_classes)

    def measured(self, name: SplitName) -> Tensor | None:
        """Return the indices of the examples on which a split's metrics are measured; None: on all.

        For `train` it is a random sample that depends only on the numbers of examples, so that an epoch stays cheap and
        all trainings on the same data are measured on the same examples.
        """
        return self._train_sample if name == "train" else None

    @cached_property
    def _train_sample(self) -> Tensor | None:
        size = max(MEASURED_TRAIN_EXAMPLES, len(self.splits["val"]) if "val" in self.splits else 0)
        if size >= len(self.train):
            return None
        sample = torch.randperm(len(self.train), generator=generator(0, "measured training examples"))[:size]
        return sample.sort().values.to(self.train.features.device)

    def measured_targets(self, name: SplitName) -> Tensor:
        """Return the targets of the examples on which a split's metrics are measured."""
        indices, targets = self.measured(name), self.splits[name].targets
        return targets if indices is None else targets[indices]

    def batch(self, split: Split, indices: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Return features and targets of the examples at `indices` on the dataset's device, as a model takes them.

        Args:
            split: one of the dataset's splits.
            indices: indices [n], or a slice.
        """
        features, targets = split.features[indices], split.targets[indices]
        if features.device != self.device:
            features, targets = (each.to(self.device, non_blocking=True) for each in (features, targets))
        return self.standardised(features), targets

    def standardised(self, features: Tensor) -> Tensor:
        """Return features as a model takes them: pixels of uint8 are standardised, others are so already."""
        if self.pixel_mean is not None and self.pixel_std is not None:
            features = (features - self.pixel_mean) / self.pixel_std
        return features

    def with_ids(self, ids: Mapping[SplitName, NDArray[np.int64]]) -> "Dataset":
        """Return the same dataset with `ids` [n] for the splits named there."""
        numbers = {name: torch.from_numpy(each) for name, each in ids.items()}
        splits = {name: replace(split, ids=numbers.get(name)) for name, split in self.splits.items()}
        return replace(self, splits=splits)

    def with_names(self, names: Mapping[SplitName | None, NDArray[Any] | None]) -> "Dataset":
        """Return the same dataset with the user's own ids by position.

        Args:
            names: the ids of splits with their own file, by split, and those of the main data as None.
        """
        splits = {name: replace(split, names=names.get(name, names[None])) for name, split in self.splits.items()}
        return replace(self, splits=splits)

    def to(self, device: torch.device) -> "Dataset":
        """Return the same dataset for training on `device`: resident there if it fits, else copied batch by batch."""
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
