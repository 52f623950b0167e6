"""Evaluates a model on splits: mean loss and metrics, without gradients; leaves the model in evaluation mode."""

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
    """Return `split/loss` (the mean over examples) and each metric as `split/metric`, for `train` on a fixed sample.

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
        num_examples = 0
        with torch.inference_mode(), autocast or nullcontext():
            for outputs, targets in predictions_of(model, dataset, name, group, dataset.measured(name)):
                total += loss(outputs, targets) * len(targets)
                num_examples += len(targets)
                metrics.update(outputs, targets)
            measured = {"loss": float(total) / num_examples, **metrics.compute(name)}
        values |= {f"{name}/{metric}": value for metric, value in measured.items()}
    return values


def predictions_of(
    model: nn.Module,
    dataset: Dataset,
    name: SplitName,
    group: Group = SINGLE_PROCESS,
    indices: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the model's outputs (float32) and the targets, batch by batch.

    Args:
        model: any model for this dataset.
        dataset: the dataset.
        name: the split.
        group: the processes that share the computation.
        indices: the examples [n], on the device of the split's features; None: all, in the split's order.
    """
    model.eval()
    split = dataset.splits[name]
    num_examples = len(split) if indices is None else len(indices)
    numbers = prod(dataset.shape) * (dataset.num_outputs if dataset.kind == "language" else 1)
    size = max(1, min(_BATCH, _BATCH_NUMBERS // numbers))
    for start in range(0, num_examples, size * group.size):
        part = slice(start, start + size * group.size)
        features, targets = dataset.batch(split, part if indices is None else indices[part])
        yield group.gathered_forward(model, features).float(), targets
