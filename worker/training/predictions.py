"""Predictions of a trained model on held-out examples by id, for ensembles and for inspecting single examples."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from worker.training.components.link import Link
from worker.training.data import Dataset, SplitName
from worker.training.distributed.group import SINGLE_PROCESS, Group
from worker.training.evaluate import predictions_of


@dataclass(frozen=True)
class Predictions:
    """The predictions for the examples of a split, by id, all on the CPU.

    Attributes:
        ids: [n], the examples' own ids (whole numbers or texts) where the data names them (`data.id`), else their
            positions in the data before it was split: a table's rows, from 0.
        outputs: for classification the probabilities [n, num_classes] by softmax, or by sigmoids, which do not add up
            to 1, for a loss of each class against the rest. For regression the values [n] in the target's own unit. For
            ranking the scores [n] of the rows of all queries.
        targets: class indices [n], values [n] in the target's own unit, or relevances [n].
    """

    ids: NDArray[Any]
    outputs: Tensor
    targets: Tensor


def predict(
    model: nn.Module,
    dataset: Dataset,
    name: SplitName,
    link: Link,
    autocast: AbstractContextManager[object],
    *,
    group: Group = SINGLE_PROCESS,
) -> Predictions:
    """Return the predictions of a model on a split, in the split's order.

    Args:
        model: any model for this dataset.
        dataset: the dataset.
        name: the split.
        link: maps outputs to probabilities.
        autocast: the precision context in which the model computes.
        group: the processes that share the computation.
    """
    with torch.inference_mode(), autocast:
        outputs, targets = (
            torch.cat(parts) for parts in zip(*predictions_of(model, dataset, name, group), strict=True)
        )
    return of_outputs(outputs, targets, dataset, name, link)


def of_outputs(outputs: Tensor, targets: Tensor, dataset: Dataset, name: SplitName, link: Link) -> Predictions:
    """Return the predictions that a model's outputs for all examples of a split stand for, in the split's order.

    Args:
        outputs: the outputs.
        targets: the targets.
        dataset: the dataset.
        name: the split.
        link: maps outputs to probabilities.
    """
    split = dataset.splits[name]
    positions = torch.arange(len(targets)) if split.ids is None else split.ids
    if dataset.kind == "classification":
        outputs = link.inverse(outputs)
    elif dataset.kind == "ranking":
        outputs, targets, positions = outputs[targets >= 0], targets[targets >= 0], positions[positions >= 0]
    else:
        outputs, targets = (each.squeeze(1) * dataset.target_std + dataset.target_mean for each in (outputs, targets))
    ids = positions.numpy() if split.names is None else split.names[positions.numpy()]
    return Predictions(ids, outputs.cpu(), targets.cpu())


def mean_by_id(predictions: Sequence[Predictions]) -> Predictions:
    """Return all predictions by ascending id, with the outputs for the same example averaged."""
    ids, inverse = np.unique(np.concatenate([part.ids for part in predictions]), return_inverse=True)
    index = torch.from_numpy(inverse)
    outputs, targets = (
        torch.cat([part.outputs for part in predictions]),
        torch.cat([part.targets for part in predictions]),
    )
    sums = torch.zeros(len(ids), *outputs.shape[1:]).index_add_(0, index, outputs)
    counts = index.bincount().view(-1, *(1 for _ in outputs.shape[1:]))
    return Predictions(ids, sums / counts, targets.new_empty(len(ids)).index_put_((index,), targets))
