"""What training sees of any data: tensors per split and the facts that size a model; knows no file and no format."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor

Kind: TypeAlias = Literal["classification", "regression"]
SplitName: TypeAlias = Literal["train", "val", "test", "test_val"]


@dataclass(frozen=True)
class Split:
    """Features [n, num_features] float32; targets [n] int64 class indices, or [n, 1] float32 standardised values."""

    features: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def to(self, device: torch.device) -> "Split":
        return Split(self.features.to(device), self.targets.to(device))


@dataclass(frozen=True)
class Dataset:
    """Splits that live on one device; `train` is always there, the others where the data has them.

    Regression targets are standardised by the training part: value = target · target_std + target_mean, in the
    column's own unit.
    """

    kind: Kind
    splits: Mapping[SplitName, Split]
    class_names: tuple[str, ...] = ()
    target_mean: float = 0.0
    target_std: float = 1.0
    fingerprint: str | None = None
    """Of the examples before they are split; none: unknown."""

    @property
    def train(self) -> Split:
        return self.splits["train"]

    @property
    def num_features(self) -> int:
        return self.train.features.shape[1]

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 for regression."""
        return len(self.class_names)

    @property
    def num_outputs(self) -> int:
        """What a model has to give per example: a logit per class, or one value."""
        return self.num_classes or 1

    def to(self, device: torch.device) -> "Dataset":
        return replace(self, splits={name: split.to(device) for name, split in self.splits.items()})
