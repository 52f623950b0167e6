"""What `batch_size: auto` stands for: a default limited by the data, or the largest batch that fits a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from worker.training.allowed_folders import ANYWHERE, AllowedFolders
from worker.training.build import load
from worker.training.config import SETTINGS, TrainingConfig

AUTO = "auto"
_LEAST_STEPS = 20
"""Optimizer steps of an epoch that a larger batch must leave."""


def is_auto(task: Mapping[str, Any]) -> bool:
    """Return whether a mapping of settings leaves the batch size open."""
    return bool(task.get("batch_size") == AUTO)


def with_default(task: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mapping with the default batch size in place of `auto`."""
    return {**task, "batch_size": SETTINGS["batch_size"].default} if is_auto(task) else dict(task)


def limited_by_data(config: TrainingConfig, folders: AllowedFolders = ANYWHERE) -> TrainingConfig:
    """Return the configuration with a batch of at most all training examples; this loads the data.

    Raises:
        ConfigError: the data can't be used.
        OutsideFolders: a file lies outside the `folders`.
    """
    num_examples = min(len(dataset.train) for dataset in load(config, torch.device("cpu"), folders))
    return replace(config, batch_size=min(config.batch_size, num_examples))


def proposed_batch_size(base: int, largest: int, num_examples: int) -> int:
    """Return the largest batch, doubled from `base`, that fits the memory and leaves an epoch at least 20 steps.

    Args:
        base: the batch size to double; the result is not smaller.
        largest: the largest batch that fits.
        num_examples: the number of training examples.
    """
    size = base
    while 2 * size <= min(largest, num_examples // _LEAST_STEPS):
        size *= 2
    return size
