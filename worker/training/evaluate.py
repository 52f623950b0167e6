"""How good a model is on held-out splits: loss and metrics, no gradients; leaves the model in evaluation mode."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from math import prod

import torch
from torch import Tensor, nn

from worker.training.data import Dataset, SplitName
from worker.training.metrics import Metrics
from worker.training.parallel import ALONE, Group

# Large enough to keep a device busy, small enough for the activations of any model here.
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
    group: Group = ALONE,
) -> dict[str, float]:
    """For each split of `names` that the dataset has: `split/loss`, the mean over its examples, and each metric.

    The model computes within `autocast`, each rank of the group a share. Values may be non-finite: what that means is
    the caller's affair.
    """
    values: dict[str, float] = {}
    for name in names:
        if name not in dataset.splits:
            continue
        metrics.reset()
        total = torch.zeros((), device=dataset.device)
        with torch.inference_mode(), autocast or nullcontext():
            for outputs, targets in answers(model, dataset, name, group):
                total += loss(outputs, targets) * len(targets)
                metrics.update(outputs, targets)
            measured = {"loss": float(total) / len(dataset.splits[name]), **metrics.compute()}
        values |= {f"{name}/{metric}": value for metric, value in measured.items()}
    return values


def answers(
    model: nn.Module, dataset: Dataset, name: SplitName, group: Group = ALONE
) -> Iterator[tuple[Tensor, Tensor]]:
    """The model's outputs on a split, float32, with the targets, batch by batch, in its order."""
    model.eval()
    split = dataset.splits[name]
    numbers = prod(dataset.shape) * (dataset.num_outputs if dataset.kind == "language" else 1)
    size = max(1, min(_BATCH, _BATCH_NUMBERS // numbers))
    for start in range(0, len(split), size * group.size):
        features, targets = dataset.batch(split, slice(start, start + size * group.size))
        yield group.outputs(model, features).float(), targets
