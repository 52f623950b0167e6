"""Registry of losses: modules from outputs and targets to a batch's mean loss, each for some kinds of task.

For classification and language modelling, outputs are logits [..., num_classes] and targets class indices [...]. For
regression both are standardised values [n, 1]. For ranking, outputs are scores [n, rows] and targets relevances
[n, rows], -1 where a query has no row. Every loss is a mean over examples. So the losses of a batch's parts, averaged
with their sizes as weights, equal the loss of the whole batch.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.training.components.distillation import distill
from worker.training.data import Dataset
from worker.training.errors import ConfigError
from worker.training.parameters import Setting
from worker.training.registry import Registry

LOSSES: Registry[nn.Module] = Registry("loss")

LabelSmoothing = Annotated[
    float, Setting("probability spread evenly over all classes; with 1 no label is left", low=0.0, high=0.99)
]
ClassWeights = Annotated[
    Sequence[float] | None,
    Setting("what an example of each class counts, in the order of the classes", low=0.0, exclusive_low=True),
]
Balance = Annotated[
    float,
    Setting("1 weighs classes by the inverse of their frequency, 0.5 by its root, 0 all alike", low=0.0, high=1.0),
]


class CrossEntropy(nn.Module):
    """Softmax cross entropy, weighted by class: the mean over examples of class weight times cross entropy.

    Args:
        weights: class weights [num_classes]; None: all 1.
        label_smoothing: the probability spread evenly over all classes, in [0, 1] (Szegedy et al. 2016).
    """

    weights: Tensor | None

    def __init__(self, weights: Tensor | None, label_smoothing: float) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.label_smoothing = label_smoothing

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of logits [..., num_classes] and class indices [...]."""
        # PyTorch's mean divides by the batch's sum of weights, so an example would count differently in each batch.
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
    """Focal loss: the mean of class weight · (1 - p)^gamma · cross entropy, with p of the true class (Lin et al. 2017).

    Args:
        weights: class weights [num_classes]; None: all 1.
        gamma: at least 0; 0 is cross entropy, and larger values give easy examples less weight.
    """

    weights: Tensor | None

    def __init__(self, weights: Tensor | None, gamma: float) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.gamma = gamma

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of logits [..., num_classes] and class indices [...]."""
        targets = targets.flatten()
        log_p = functional.log_softmax(outputs.flatten(0, -2), dim=-1).gather(1, targets.unsqueeze(1)).squeeze(1)
        # For gamma < 1 the power's gradient is infinite at p = 1, so 1 - p is clamped to at least 1e-6.
        error = (1 - log_p.exp()).clamp_min(1e-6)
        losses = -(error**self.gamma) * log_p
        return (losses if self.weights is None else losses * self.weights[targets]).mean()


class OneVsRest(nn.Module):
    """One-vs-rest loss: the mean over examples of class weight times the mean binary cross entropy of all classes.

    Args:
        weights: class weights [num_classes]; None: all 1.
        label_smoothing: the probability spread evenly over all classes, in [0, 1].
    """

    weights: Tensor | None

    def __init__(self, weights: Tensor | None, label_smoothing: float) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.label_smoothing = label_smoothing

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of logits [..., num_classes] and class indices [...]."""
        outputs, targets = outputs.flatten(0, -2), targets.flatten()
        num_classes = outputs.shape[-1]
        probabilities = functional.one_hot(targets, num_classes).to(outputs.dtype)
        probabilities = probabilities * (1 - self.label_smoothing) + self.label_smoothing / num_classes
        losses = functional.binary_cross_entropy_with_logits(outputs, probabilities, reduction="none").mean(1)
        return (losses if self.weights is None else losses * self.weights[targets]).mean()


class ListNet(nn.Module):
    """Listwise ranking loss: KL(softmax(relevance) ‖ softmax(scores)) over a query's rows (Cao et al. 2007).

    The loss is the mean over the queries, and its minimum is 0.
    """

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over queries for scores [n, rows] and relevances [n, rows] (-1: no row)."""
        is_row = targets >= 0
        log_targets, log_scores = (
            values.masked_fill(~is_row, -torch.inf).log_softmax(1) for values in (targets, outputs)
        )
        return (log_targets.exp() * (log_targets - log_scores).masked_fill(~is_row, 0.0)).sum(1).mean()


class RankNet(nn.Module):
    """Pairwise ranking loss: logistic loss of row pairs of different relevance (Burges et al. 2005).

    The loss is the mean over a query's pairs, then over the queries.
    """

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over queries for scores [n, rows] and relevances [n, rows] (-1: no row)."""
        # Pairs [n, rows, rows] of a more and a less relevant row; rows that pad a query are in no pair.
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
    """Softmax cross entropy, with optional label smoothing (Szegedy et al. 2016) and class weights."""
    return CrossEntropy(_weights(dataset, class_weights, balance), label_smoothing)


def focal(
    dataset: Dataset,
    *,
    gamma: Annotated[float, Setting("how much less well-classified examples count", low=0.0, high=10.0)] = 2.0,
    class_weights: ClassWeights = None,
    balance: Balance = 0.0,
) -> nn.Module:
    """Focal loss: cross entropy that gives easy examples less weight, for rare classes (Lin et al. 2017)."""
    return Focal(_weights(dataset, class_weights, balance), gamma)


def bce(
    dataset: Dataset,
    *,
    label_smoothing: LabelSmoothing = 0.0,
    class_weights: ClassWeights = None,
    balance: Balance = 0.0,
) -> nn.Module:
    """Binary cross entropy of each class against the rest, on the sigmoid of its output (Wightman et al. 2021)."""
    return OneVsRest(_weights(dataset, class_weights, balance), label_smoothing)


def mse(_: Dataset) -> nn.Module:
    """Mean squared error of targets standardised on the training set."""
    return nn.MSELoss()


def mae(_: Dataset) -> nn.Module:
    """Mean absolute error of targets standardised on the training set; less sensitive to outliers than mse."""
    return nn.L1Loss()


def huber(
    _: Dataset,
    *,
    delta: Annotated[float, Setting("standardised error at which it turns linear", low=0.0, exclusive_low=True)] = 1.0,
) -> nn.Module:
    """Huber loss: squared for small errors, absolute for large ones, on standardised targets (Huber 1964)."""
    return nn.HuberLoss(delta=delta)


def listnet(_: Dataset) -> nn.Module:
    """ListNet, a listwise ranking loss: divergence between the softmaxes of relevance and scores (Cao et al. 2007)."""
    return ListNet()


def ranknet(_: Dataset) -> nn.Module:
    """RankNet, a pairwise ranking loss: logistic loss of row pairs of different relevance (Burges et al. 2005)."""
    return RankNet()


for _any_classes in (cross_entropy, focal):
    LOSSES.add(_any_classes, kinds=["classification", "language"])
# These options change the loss that trains the model, but not the loss that is measured.
LOSSES.add(distill, kinds=["classification", "language"], training_only=["teacher", "temperature", "weight"])
LOSSES.add(bce, kinds=["classification"], link="sigmoid")
for _regression in (mse, mae, huber):
    LOSSES.add(_regression, kinds=["regression"])
for _ranking in (listnet, ranknet):
    LOSSES.add(_ranking, kinds=["ranking"])


def _weights(dataset: Dataset, class_weights: Sequence[float] | None, balance: float) -> Tensor | None:
    """Return class weights [num_classes], given or by inverse class frequency; None: all classes count alike."""
    if class_weights is not None:
        if balance:
            raise ConfigError("loss.balance", "can't be combined with class_weights; set one of the two")
        if len(class_weights) != dataset.num_classes:
            raise ConfigError(
                "loss.class_weights",
                f"there are {len(class_weights)} weights for {dataset.num_classes} classes; give one per class",
            )
        return torch.tensor(class_weights)
    if not balance:
        return None
    # Weights have a mean of 1 over the training examples, so that the same learning rate fits with and without them.
    counts = dataset.class_counts.double().clamp_min(1)
    weights = counts**-balance
    return (weights * counts.sum() / (weights * counts).sum()).float()
