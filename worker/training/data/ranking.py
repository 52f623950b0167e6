"""Ranking data: groups the rows of each query into one list, padded to a common length."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.training.data.dataset import Dataset, Split, SplitName
from worker.training.errors import ConfigError

NO_ROW = -1.0
"""The target where a query has no row."""


def with_queries(
    features: dict[SplitName, Tensor],
    relevance: dict[SplitName, NDArray[np.float64]],
    queries: dict[SplitName, NDArray[np.int64]],
    ids: dict[SplitName, NDArray[np.int64]],
) -> Dataset:
    """Return the ranking dataset of rows that belong to queries.

    Args:
        features: [n, num_features] of each split's rows.
        relevance: [n], at least 0.
        queries: [n], the number of each row's query.
        ids: [n], the rows' positions in the data; missing for a split with its own file.

    Raises:
        ConfigError: a relevance is below 0, a split has none above 0, or no training query has rows that differ in it.
    """
    for name, each in relevance.items():
        if each.min() < 0:
            raise ConfigError("data.target", f"the {name} examples hold the relevance {each.min():g}; 0 is the lowest")
        if not each.any():
            raise ConfigError("data.target", f"no row of the {name} examples is relevant; there is nothing to measure")
    splits = {
        name: padded_queries(
            features[name], relevance[name], queries[name], ids.get(name, np.arange(len(queries[name])))
        )
        for name in features
    }
    targets = splits["train"].targets
    if not ((targets != NO_ROW) & (targets != targets.amax(1, keepdim=True))).any():
        raise ConfigError("data.target", "within each query all rows have one relevance; there is nothing to learn")
    return Dataset("ranking", splits)


def padded_queries(
    features: Tensor, relevance: NDArray[np.float64], queries: NDArray[np.int64], ids: NDArray[np.int64]
) -> Split:
    """Return features [queries, rows, num_features], targets and ids [queries, rows]; padding is 0, NO_ROW and -1."""
    _, query, sizes = np.unique(queries, return_inverse=True, return_counts=True)
    order = np.argsort(query, kind="stable")
    column = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    shape = (len(sizes), int(sizes.max()))
    lists, targets = torch.zeros(*shape, features.shape[1]), torch.full(shape, NO_ROW)
    positions = torch.full(shape, -1, dtype=torch.int64)
    cells = torch.from_numpy(query[order]), torch.from_numpy(column)
    lists[cells] = features[torch.from_numpy(order)]
    targets[cells] = torch.from_numpy(relevance[order].astype(np.float32))
    positions[cells] = torch.from_numpy(ids[order])
    return Split(lists, targets, positions)
