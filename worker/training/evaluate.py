"""How good a model is on held-out splits: loss and metrics, no gradients; leaves the model in evaluation mode."""

import torch
from torch import nn

from worker.training.data import Dataset, SplitName
from worker.training.metrics import Metrics

# Large enough to keep a device busy, small enough for the activations of any model here.
_BATCH = 4096


def evaluate(
    model: nn.Module, loss: nn.Module, metrics: Metrics, dataset: Dataset, names: tuple[SplitName, ...]
) -> dict[str, float]:
    """For each split of `names` that the dataset has: `split/loss`, the mean over its examples, and each metric.

    Values may be non-finite: what that means is the caller's affair.
    """
    model.eval()
    values: dict[str, float] = {}
    for name in names:
        if name not in dataset.splits:
            continue
        split = dataset.splits[name]
        metrics.reset()
        total = torch.zeros((), device=split.targets.device)
        with torch.inference_mode():
            for features, targets in zip(
                *(torch.split(each, _BATCH) for each in (split.features, split.targets)), strict=True
            ):
                outputs = model(features)
                total += loss(outputs, targets) * len(targets)
                metrics.update(outputs, targets)
            measured = {"loss": float(total) / len(split), **metrics.compute()}
        values |= {f"{name}/{metric}": value for metric, value in measured.items()}
    return values
