"""What a trained model says of held-out examples, with their ids: for ensembles, and to look at single examples."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worker.training.data import Dataset, SplitName
from worker.training.evaluate import answers
from worker.training.parallel import ALONE, Group


@dataclass(frozen=True)
class Predictions:
    """What is said of a split's examples, by id, all on the CPU.

    `ids` [n] are the places of the examples in the data before it was split: a table's rows, from 0. `outputs` are the
    probabilities of the softmax [n, num_classes] with class indices [n] as `targets`; of a regression values [n] in the
    target's own unit, as the targets are; of a ranking the scores [n] and relevances [n] of all queries' rows.
    """

    ids: Tensor
    outputs: Tensor
    targets: Tensor


def predict(
    model: nn.Module,
    dataset: Dataset,
    name: SplitName,
    autocast: AbstractContextManager[object],
    group: Group = ALONE,
) -> Predictions:
    """The model's answers on the split `name`, in its order; the model computes within `autocast`."""
    with torch.inference_mode(), autocast:
        outputs, targets = (torch.cat(parts) for parts in zip(*answers(model, dataset, name, group), strict=True))
    ids = dataset.splits[name].ids
    ids = torch.arange(len(targets)) if ids is None else ids
    if dataset.kind == "classification":
        outputs = outputs.softmax(-1)
    elif dataset.kind == "ranking":
        outputs, targets, ids = outputs[targets >= 0], targets[targets >= 0], ids[ids >= 0]
    else:
        outputs, targets = (each.squeeze(1) * dataset.target_std + dataset.target_mean for each in (outputs, targets))
    return Predictions(ids, outputs.cpu(), targets.cpu())


def mean_by_id(each: Sequence[Predictions]) -> Predictions:
    """All predictions together, by ascending id: outputs for the same example are averaged."""
    ids, place = torch.unique(torch.cat([one.ids for one in each]), return_inverse=True)
    outputs, targets = torch.cat([one.outputs for one in each]), torch.cat([one.targets for one in each])
    sums = torch.zeros(len(ids), *outputs.shape[1:]).index_add_(0, place, outputs)
    counts = place.bincount().view(-1, *(1 for _ in outputs.shape[1:]))
    return Predictions(ids, sums / counts, targets.new_empty(len(ids)).index_put_((place,), targets))
