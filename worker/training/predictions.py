"""What a trained model says of held-out examples, with their ids: for ensembles, and to look at single examples."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from worker.training.data import Dataset, SplitName
from worker.training.evaluate import answers
from worker.training.link import Link
from worker.training.parallel import ALONE, Group


@dataclass(frozen=True)
class Predictions:
    """What is said of a split's examples, by id, all on the CPU.

    `ids` [n] are the examples' own, whole numbers or texts, where the data names them (`data.id`), else their places in
    the data before it was split: a table's rows, from 0. `outputs` are the
    probabilities [n, num_classes] with class indices [n] as `targets`: of the softmax, or under a loss of each class
    against the rest the sigmoids, which have no sum of 1. Of a regression they are values [n] in the target's own
    unit, as the targets are; of a ranking the scores [n] and relevances [n] of all queries' rows.
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
    group: Group = ALONE,
) -> Predictions:
    """What the model's outputs on the split `name` stand for, in its order; it computes within `autocast`."""
    with torch.inference_mode(), autocast:
        outputs, targets = (torch.cat(parts) for parts in zip(*answers(model, dataset, name, group), strict=True))
    split = dataset.splits[name]
    places = torch.arange(len(targets)) if split.ids is None else split.ids
    if dataset.kind == "classification":
        outputs = link.means(outputs)
    elif dataset.kind == "ranking":
        outputs, targets, places = outputs[targets >= 0], targets[targets >= 0], places[places >= 0]
    else:
        outputs, targets = (each.squeeze(1) * dataset.target_std + dataset.target_mean for each in (outputs, targets))
    ids = places.numpy() if split.names is None else split.names[places.numpy()]
    return Predictions(ids, outputs.cpu(), targets.cpu())


def mean_by_id(each: Sequence[Predictions]) -> Predictions:
    """All predictions together, by ascending id: outputs for the same example are averaged."""
    ids, inverse = np.unique(np.concatenate([one.ids for one in each]), return_inverse=True)
    place = torch.from_numpy(inverse)
    outputs, targets = torch.cat([one.outputs for one in each]), torch.cat([one.targets for one in each])
    sums = torch.zeros(len(ids), *outputs.shape[1:]).index_add_(0, place, outputs)
    counts = place.bincount().view(-1, *(1 for _ in outputs.shape[1:]))
    return Predictions(ids, sums / counts, targets.new_empty(len(ids)).index_put_((place,), targets))
