"""Evaluates a model on held-out splits: mean loss and metrics, without gradients; leaves it in evaluation mode."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from math import prod

import torch
from torch import Tensor, nn

from worker.training.components.metrics import Metrics
from worker.training.data import Dataset, SplitName
from worker.training.distributed.group import SINGLE_PROCESS, Group

# Large enough to keep a device busy, and small enough for the activations of any model here.
_BATCH = 4096
_BATCH_NUMBERS = 1 << 22


def evaluate(
    model: nn.Module,
    loss: nn.Module,
    metrics: Metrics,
    dataset: Dataset,
    names: tuple[SplitName, ...],
    *,
    autocast: AbstractContextManager[object] | None = None,
    group: Group = SINGLE_PROCESS,
) -> dict[str, float]:
    """Return `split/loss` (the mean over the split's examples) and each metric as `split/metric`.

    Args:
        model: any model for this dataset.
        loss: maps outputs and targets to the batch's mean loss.
        metrics: is reset before each split.
        dataset: the dataset.
        names: the splits; those that the dataset lacks are skipped.
        autocast: the precision context in which the model computes; None: float32.
        group: the processes that share the computation.

    Returns:
        The values by name. They may be non-finite; the caller decides what that means.
    """
    values: dict[str, float] = {}
    for name in names:
        if name not in dataset.splits:
            continue
        metrics.reset()
        total = torch.zeros((), device=dataset.device)
        with torch.inference_mode(), autocast or nullcontext():
            for outputs, targets in predictions_of(model, dataset, name, group):
                total += loss(outputs, targets) * len(targets)
                metrics.update(outputs, targets)
            measured = {"loss": float(total) / len(dataset.splits[name]), **metrics.compute(name)}
        values |= {f"{name}/{metric}": value for metric, value in measured.items()}
    return values


def predictions_of(
    model: nn.Module, dataset: Dataset, name: SplitName, group: Group = SINGLE_PROCESS
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the model's outputs on a split (float32) and the targets, batch by batch, in the split's order."""
    model.eval()
    split = dataset.splits[name]
    numbers = prod(dataset.shape) * (dataset.num_outputs if dataset.kind == "language" else 1)
    size = max(1, min(_BATCH, _BATCH_NUMBERS // numbers))
    for start in range(0, len(split), size * group.size):
        features, targets = dataset.batch(split, slice(start, start + size * group.size))
        yield group.gathered_forward(model, features).float(), targets
