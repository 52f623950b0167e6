"""The number of threads for scikit-learn: those of torch, or fewer for small data."""

from __future__ import annotations

import torch

from worker.training.data import Dataset

NUMBERS_PER_THREAD = 1_000_000
"""The numbers among the features for which one more thread pays.

With fewer, threads wait for each other longer than they compute, most of all on a machine that is busy.
"""


def num_threads(dataset: Dataset) -> int:
    """Return how many threads to fit an estimator of scikit-learn with, on all training examples of a dataset."""
    numbers = len(dataset.train) * dataset.train.features[:1].numel()
    return max(1, min(torch.get_num_threads(), numbers // NUMBERS_PER_THREAD))
