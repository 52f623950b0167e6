"""A split as a table of numbers for scikit-learn: rows as they are, small images, and counts of tokens."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.training.data import Dataset, Split
from worker.training.estimators.example_rows import pooled, token_counts
from worker.training.seeding import generator

MAX_EXAMPLES = 1000
_MAX_SIDE = 8
_MAX_TOKENS = 256

Table = NDArray[Any]


def sample(split: Split, seed: int, size: int = MAX_EXAMPLES) -> Tensor:
    """Return the indices of at most `size` examples, drawn by the seed."""
    order = torch.randperm(len(split), generator=generator(seed, "preflight/table"))
    return order[:size].to(split.features.device)


def table_of(dataset: Dataset, split: Split, indices: Tensor) -> Table:
    """Return one row of numbers for each example, [n, columns]; rare tokens share columns."""
    features, _ = dataset.batch(split, indices)
    match dataset.inputs:
        case "images":
            return pooled(features, _MAX_SIDE).cpu().numpy()
        case "tokens":
            counts: Table = token_counts(features, dataset.padding, min(dataset.vocabulary, _MAX_TOKENS)).toarray()
            return counts
        case _:
            return features.flatten(1).cpu().numpy()
