"""Broken data sources, one fault each."""

from __future__ import annotations

import time
from dataclasses import replace

import torch
from torch import Tensor

from tests.training.preflight.planted_faults.fault import plant
from worker.training.data import DATA, Dataset, Split, SplitName


def source(name: str) -> Dataset:
    """A healthy dataset that ships with scikit-learn."""
    return DATA.create(name, DATA.check(name, {}))


def with_split(dataset: Dataset, name: SplitName, features: Tensor, targets: Tensor) -> Dataset:
    return replace(dataset, splits={**dataset.splits, name: Split(features, targets)})


def stream() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@plant(DATA)
def raw_targets() -> Dataset:
    """A regression whose targets were not standardised."""
    dataset = source("diabetes")
    return replace(
        dataset,
        splits={name: replace(each, targets=each.targets * 77 + 152) for name, each in dataset.splits.items()},
    )


class _Shuffled(Dataset):
    def batch(self, split: Split, indices: Tensor | slice) -> tuple[Tensor, Tensor]:
        features, targets = super().batch(split, indices)
        return features, targets[torch.randperm(len(targets))]


@plant(DATA)
def labels_shuffled_per_batch() -> Dataset:
    """Labels that are shuffled each time a batch is made."""
    return _Shuffled(**vars(source("digits")))


class _Slow(Dataset):
    def batch(self, split: Split, indices: Tensor | slice) -> tuple[Tensor, Tensor]:
        time.sleep(0.03)
        return super().batch(split, indices)


@plant(DATA)
def slow_loader() -> Dataset:
    """Batches that take 30 ms to make."""
    return _Slow(**vars(source("digits")))


@plant(DATA)
def leaked_duplicates() -> Dataset:
    """A validation set of which a third are training examples."""
    dataset = source("digits")
    val, train = dataset.splits["val"], dataset.train
    third = len(val) // 3
    features = torch.cat([val.features[third:], train.features[:third]])
    return with_split(dataset, "val", features, torch.cat([val.targets[third:], train.targets[:third]]))


@plant(DATA)
def leaked_test() -> Dataset:
    """A test set of which a tenth are training examples."""
    dataset = source("wine")
    test, train = dataset.splits["test"], dataset.train
    features = torch.cat([test.features, train.features[:4]])
    return with_split(dataset, "test", features, torch.cat([test.targets, train.targets[:4]]))


@plant(DATA)
def shifted_validation() -> Dataset:
    """A validation set that was measured with another calibration."""
    dataset = source("breast_cancer")
    val = dataset.splits["val"]
    features = val.features.clone()
    features[:, :5] = features[:, :5] * 1.3 + 0.8
    return with_split(dataset, "val", features, val.targets)


@plant(DATA)
def shifted_test() -> Dataset:
    """A test set of darker images."""
    dataset = source("digits")
    test = dataset.splits["test"]
    return with_split(dataset, "test", test.features * 0.6 - 0.3, test.targets)


@plant(DATA)
def permuted_labels() -> Dataset:
    """Labels that do not belong to their examples."""
    dataset = source("digits")
    train = dataset.train
    order = torch.randperm(len(train), generator=stream())
    return with_split(dataset, "train", train.features, train.targets[order])


@plant(DATA)
def one_class_in_fifty() -> Dataset:
    """Two classes, of which one is hardly ever seen."""
    dataset = source("breast_cancer")
    splits: dict[SplitName, Split] = {}
    for name, each in dataset.splits.items():
        rows = torch.cat([(each.targets == 1).nonzero().flatten(), (each.targets == 0).nonzero().flatten()[:4]])
        splits[name] = Split(each.features[rows], each.targets[rows])
    return replace(dataset, splits=splits)


@plant(DATA)
def raw_features() -> Dataset:
    """Features that were not standardised: one in thousands, one in thousandths."""
    dataset = source("wine")
    factors = torch.ones(dataset.num_features)
    factors[0], factors[1] = 3000.0, 0.001
    return replace(
        dataset,
        splits={name: replace(each, features=each.features * factors) for name, each in dataset.splits.items()},
    )


@plant(DATA)
def typing_error_in_targets() -> Dataset:
    """A target in the validation set with a decimal point in the wrong place."""
    dataset = source("diabetes")
    val = dataset.splits["val"]
    targets = val.targets.clone()
    targets[3] = 1500.0
    return with_split(dataset, "val", val.features, targets)


@plant(DATA)
def class_missing_in_validation() -> Dataset:
    """A validation set without one of the classes."""
    dataset = source("digits")
    val = dataset.splits["val"]
    kept = val.targets != 3
    return with_split(dataset, "val", val.features[kept], val.targets[kept])
