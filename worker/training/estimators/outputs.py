"""Predictions of an estimator as outputs of a model, so that loss and metrics measure both alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from worker.training.components.link import Link
from worker.training.components.metrics import Metrics
from worker.training.data import Dataset, SplitName
from worker.training.estimators.example_rows import Table

_SMALLEST = float(torch.finfo(torch.float32).eps)
"""The smallest probability, as in `log_loss`: a forest may give 0, whose logarithm is not finite."""


def predicted(estimator: Any, dataset: Dataset, table: Table) -> NDArray[Any]:
    """Return an estimator's predictions: probabilities of all classes [n, num_classes], or values [n].

    A class that the estimator did not see has probability 0.
    """
    if dataset.kind != "classification":
        return np.asarray(estimator.predict(table), dtype=np.float64)
    probabilities = np.zeros((table.shape[0], dataset.num_classes))
    probabilities[:, estimator.classes_.astype(int)] = estimator.predict_proba(table)
    return probabilities


def as_outputs(predictions: NDArray[Any], dataset: Dataset, targets: Tensor, link: Link) -> Tensor:
    """Return predictions in the shape and the meaning of a model's outputs, float32 on the CPU.

    Args:
        predictions: probabilities [n, num_classes], standardised values [n], or the scores of the rows of all queries.
        dataset: the dataset.
        targets: the targets of the examples, as the dataset has them.
        link: maps outputs to probabilities.
    """
    values = torch.from_numpy(predictions)
    if dataset.kind == "classification":
        return link.outputs(values.clamp_min(_SMALLEST)).float()
    if dataset.kind == "ranking":
        scores = torch.zeros(targets.shape)
        scores[targets >= 0] = values.float()
        return scores
    return values.float().view(-1, 1)


def measure(
    outputs: Tensor, targets: Tensor, split: SplitName, loss: nn.Module | None, metrics: Metrics
) -> dict[str, float]:
    """Return `split/loss` and each metric as `split/metric`, of all outputs and targets of a split at once.

    Args:
        outputs: the outputs.
        targets: the targets, on the same device.
        split: the split.
        loss: maps outputs and targets to the mean loss; None: the loss is left out.
        metrics: the metrics; they are reset.
    """
    metrics.reset()
    with torch.inference_mode():
        metrics.update(outputs, targets)
        values = {} if loss is None else {"loss": float(loss(outputs, targets))}
        values |= metrics.compute(split)
    metrics.reset()
    return {f"{split}/{name}": value for name, value in values.items()}
