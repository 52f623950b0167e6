"""Examples as rows of numbers: pooled images, counts of tokens, and rows of a table with their categories one-hot."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch import Tensor
from torch.nn import functional

from worker.training.data import Dataset, Split

Table: TypeAlias = Any
"""Rows of numbers, [n, columns]: a NumPy array, or a sparse matrix of counts."""

MAX_SIDE = 16
"""Images are pooled to at most so many pixels on each side."""
_FEW_TOKENS = 512
_NGRAM_COLUMNS = 1 << 15
_LONGEST_NGRAM = 4
_PRIME = 1_000_003
_BLOCK = 512


def rows_of(dataset: Dataset, split: Split, indices: Tensor) -> Table:
    """Return the features of some examples, [n, columns]; of queries, those of each row that a query has.

    Images are pooled. Tokens are counted: of a small vocabulary, such as bytes, in sequences of up to 4 tokens.
    """
    parts = [_block(dataset, split, part) for part in torch.split(indices, _BLOCK)]
    return torch.cat(parts).numpy() if dataset.inputs != "tokens" else _counted(dataset, torch.cat(parts))


def targets_of(dataset: Dataset, split: Split, indices: Tensor) -> NDArray[Any]:
    """Return the targets of `rows_of`, [n]: class indices, standardised values, or relevances."""
    targets = split.targets[indices].cpu()
    if dataset.kind == "ranking":
        targets = targets[targets >= 0]
    return targets.flatten().numpy()


def pooled(images: Tensor, max_side: int) -> Tensor:
    """Return images [n, channels, height, width] as rows, averaged to at most `max_side` pixels on each side."""
    height, width = (min(side, max_side) for side in images.shape[2:])
    return functional.adaptive_avg_pool2d(images.float(), (height, width)).flatten(1)


def token_counts(tokens: Tensor, padding: int | None, num_columns: int, longest: int = 1) -> csr_matrix:
    """Return how often each token, or each sequence of up to `longest` tokens, occurs in each example.

    Args:
        tokens: [n, length].
        padding: the token that is not counted; None: all are.
        num_columns: the number of columns; tokens share a column where these are too few.
        longest: the length of the longest sequence that is counted.

    Returns:
        The counts, [n, num_columns].
    """
    values = tokens.cpu().numpy()
    is_counted = values != (-1 if padding is None else padding)
    codes, is_whole = np.zeros_like(values), np.ones_like(is_counted)
    rows, columns = [], []
    for length in range(1, longest + 1):
        width = values.shape[1] - length + 1
        if width < 1:
            break
        last = slice(length - 1, length - 1 + width)
        # Sequences of different lengths begin with different codes; a product that overflows wraps around.
        codes = (codes[:, :width] + length - 1) * _PRIME + values[:, last] if length > 1 else values
        is_whole = is_whole[:, :width] & is_counted[:, last]
        row, at = is_whole.nonzero()
        rows.append(row)
        columns.append(codes[row, at] % num_columns)
    row, column = np.concatenate(rows), np.concatenate(columns)
    shape = (len(values), num_columns)
    return csr_matrix((np.ones(len(row), dtype=np.float32), (row, column)), shape=shape)


def _block(dataset: Dataset, split: Split, indices: Tensor) -> Tensor:
    """Return the features of a few examples as rows, on the CPU; tokens as they are."""
    features, targets = (each.cpu() for each in dataset.batch(split, indices))
    if dataset.inputs == "tokens":
        return features
    if dataset.inputs == "images":
        return pooled(features, MAX_SIDE)
    if dataset.inputs == "queries":
        features = features[targets >= 0]
    features = features.flatten(1).float()
    if not dataset.categories:
        return features
    num_numbers = features.shape[1] - len(dataset.categories)
    one_hot = [
        functional.one_hot(features[:, num_numbers + at].long(), number).float()
        for at, number in enumerate(dataset.categories)
    ]
    return torch.cat([features[:, :num_numbers], *one_hot], dim=1)


def _counted(dataset: Dataset, tokens: Tensor) -> csr_matrix:
    if dataset.vocabulary <= _FEW_TOKENS:
        return token_counts(tokens, dataset.padding, _NGRAM_COLUMNS, _LONGEST_NGRAM)
    return token_counts(tokens, dataset.padding, dataset.vocabulary)
