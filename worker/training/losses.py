"""Losses by name: modules from outputs and targets to the batch's mean loss, each for its kinds of task.

Outputs of classification are logits [..., num_classes] with class indices [...] as targets; of a
ranking, scores [n, rows] with relevances, -1 where a query has no row. Every loss is a mean over
the examples, so that those of a batch's parts average, weighted by their sizes, to that of the whole.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.training.data import Dataset
from worker.training.distillation import distill
from worker.training.errors import ConfigError
from worker.training.parameters import Setting
from worker.training.registry import Registry

LOSSES: Registry[nn.Module] = Registry("loss")

LabelSmoothing = Annotated[float, Setting("probability spread evenly over all classes", low=0.0, high=1.0)]
ClassWeights = Annotated[
    Sequence[float] | None, Setting("what an example of each class counts, in the order of the classes", low=0.0)
]
Balance = Annotated[
    float,
    Setting("1 weighs classes by the inverse of their frequency, 0.5 by its root, 0 all alike", low=0.0, high=1.0),
]


class CrossEntropy(nn.Module):
    """Mean over the examples of class weight times cross entropy."""

    weights: Tensor | None

    def __init__(self, weights: Tensor | None, label_smoothing: float) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.label_smoothing = label_smoothing

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        # PyTorch's own mean divides by the weights' sum in the batch: the same example would count differently in each.
        weights = self.weights
        losses = functional.cross_entropy(
            outputs.flatten(0, -2),
            targets.flatten(),
            weight=weights,
            reduction="mean" if weights is None else "none",
            label_smoothing=self.label_smoothing,
        )
        return losses if weights is None else losses.mean()


class Focal(nn.Module):
    """Mean over the examples of class weight times (1 - p)^gamma times cross entropy, with the true class's p."""

    weights: Tensor | None

    def __init__(self, weights: Tensor | None, gamma: float) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.gamma = gamma

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        targets = targets.flatten()
        log_p = functional.log_softmax(outputs.flatten(0, -2), dim=-1).gather(1, targets.unsqueeze(1)).squeeze(1)
        # At p = 1 the power's own gradient is infinite for gamma < 1; nothing is lost just below it.
        missing = (1 - log_p.exp()).clamp_min(1e-6)
        losses = -(missing**self.gamma) * log_p
        return (losses if self.weights is None else losses * self.weights[targets]).mean()


class OneAgainstRest(nn.Module):
    """Mean over the examples of class weight times the mean of its classes' binary cross entropies."""

    weights: Tensor | None

    def __init__(self, weights: Tensor | None, label_smoothing: float) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.label_smoothing = label_smoothing

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        outputs, targets = outputs.flatten(0, -2), targets.flatten()
        num_classes = outputs.shape[-1]
        wanted = functional.one_hot(targets, num_classes).to(outputs.dtype)
        wanted = wanted * (1 - self.label_smoothing) + self.label_smoothing / num_classes
        losses = functional.binary_cross_entropy_with_logits(outputs, wanted, reduction="none").mean(1)
        return (losses if self.weights is None else losses * self.weights[targets]).mean()


class ListNet(nn.Module):
    """Mean over the queries of the divergence of the rows' softmax from that of their relevance, 0 at the least."""

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        is_row = targets >= 0
        wanted, given = (values.masked_fill(~is_row, -torch.inf).log_softmax(1) for values in (targets, outputs))
        return (wanted.exp() * (wanted - given).masked_fill(~is_row, 0.0)).sum(1).mean()


class RankNet(nn.Module):
    """Mean over the queries of the mean over pairs of rows, of different relevance, of the logistic loss."""

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        # Pairs [n, rows, rows] of the more relevant row and the other; what pads a query is in none.
        is_pair = (targets.unsqueeze(2) > targets.unsqueeze(1)) & (targets.unsqueeze(1) >= 0)
        losses = functional.softplus(outputs.unsqueeze(1) - outputs.unsqueeze(2)) * is_pair
        return (losses.sum((1, 2)) / is_pair.sum((1, 2)).clamp_min(1)).mean()


def cross_entropy(
    dataset: Dataset,
    *,
    label_smoothing: LabelSmoothing = 0.0,
    class_weights: ClassWeights = None,
    balance: Balance = 0.0,
) -> nn.Module:
    """Cross entropy of the softmax of the outputs, with optional label smoothing (Szegedy et al. 2016)."""
    return CrossEntropy(_weights(dataset, class_weights, balance), label_smoothing)


def focal(
    dataset: Dataset,
    *,
    gamma: Annotated[float, Setting("how much less well-classified examples count", low=0.0, high=10.0)] = 2.0,
    class_weights: ClassWeights = None,
    balance: Balance = 0.0,
) -> nn.Module:
    """Focal loss: cross entropy that counts easy examples less, for rare classes (Lin et al. 2017)."""
    return Focal(_weights(dataset, class_weights, balance), gamma)


def bce(
    dataset: Dataset,
    *,
    label_smoothing: LabelSmoothing = 0.0,
    class_weights: ClassWeights = None,
    balance: Balance = 0.0,
) -> nn.Module:
    """Binary cross entropy of each class against the rest, from the sigmoid of its output (Wightman et al. 2021)."""
    return OneAgainstRest(_weights(dataset, class_weights, balance), label_smoothing)


def mse(_: Dataset) -> nn.Module:
    """Mean squared error, on targets standardised by the training part."""
    return nn.MSELoss()


def mae(_: Dataset) -> nn.Module:
    """Mean absolute error, on targets standardised by the training part; less moved by outliers than mse."""
    return nn.L1Loss()


def huber(
    _: Dataset,
    *,
    delta: Annotated[float, Setting("standardised error at which it turns linear", low=0.0, exclusive_low=True)] = 1.0,
) -> nn.Module:
    """Huber loss: squared for small errors, absolute for large ones (Huber 1964)."""
    return nn.HuberLoss(delta=delta)


def listnet(_: Dataset) -> nn.Module:
    """Listwise: how far the softmax of a query's scores is from that of its relevance (Cao et al. 2007)."""
    return ListNet()


def ranknet(_: Dataset) -> nn.Module:
    """Pairwise: logistic loss of a query's pairs of rows, the more relevant against the other (Burges et al. 2005)."""
    return RankNet()


for _any_classes in (cross_entropy, focal, distill):
    LOSSES.add(_any_classes, kinds=["classification", "language"])
LOSSES.add(bce, kinds=["classification"], link="sigmoid")
for _regression in (mse, mae, huber):
    LOSSES.add(_regression, kinds=["regression"])
for _ranking in (listnet, ranknet):
    LOSSES.add(_ranking, kinds=["ranking"])


def _weights(dataset: Dataset, class_weights: Sequence[float] | None, balance: float) -> Tensor | None:
    """What an example of each class counts, [num_classes]; None for all alike."""
    if class_weights is not None:
        if balance:
            raise ConfigError("loss.balance", "class_weights are given already; set one of the two")
        if len(class_weights) != dataset.num_classes:
            raise ConfigError(
                "loss.class_weights", f"{len(class_weights)} weights for the {dataset.num_classes} classes of the data"
            )
        return torch.tensor(class_weights)
    if not balance:
        return None
    # Scaled to a mean of 1 over the training examples, so that the learning rate keeps its meaning.
    counts = dataset.class_counts.double().clamp_min(1)
    weights = counts**-balance
    return (weights * counts.sum() / (weights * counts).sum()).float()
