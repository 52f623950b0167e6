"""A split as a table of numbers for scikit-learn: rows as they are, small images, and counts of tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from worker.training.data import Dataset, Split
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
    """Return one row of numbers for each example, [n, columns]."""
    features, _ = dataset.batch(split, indices)
    match dataset.inputs:
        case "images":
            height, width = (min(side, _MAX_SIDE) for side in features.shape[2:])
            small = functional.adaptive_avg_pool2d(features.float(), (height, width))
            return small.flatten(1).cpu().numpy()
        case "tokens":
            return _token_counts(dataset, features)
        case _:
            return features.flatten(1).cpu().numpy()


def _token_counts(dataset: Dataset, tokens: Tensor) -> Table:
    """Return how often each of some tokens occurs in each example; rare tokens share columns."""
    columns = min(dataset.vocabulary, _MAX_TOKENS)
    counts = np.zeros((len(tokens), columns), dtype=np.float32)
    rows = torch.arange(len(tokens)).repeat_interleave(tokens[0].numel()).numpy()
    values = tokens.flatten().cpu().numpy()
    kept = values != -1 if dataset.padding is None else values != dataset.padding
    np.add.at(counts, (rows[kept], values[kept] % columns), 1.0)
    return counts
