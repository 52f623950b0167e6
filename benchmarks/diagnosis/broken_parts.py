"""Models and data that fail in a known way, registered with the core so that a configuration can name them."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.datasets import make_circles
from torch import Tensor, nn
from torch.nn import functional

from worker.training.components.losses import LOSSES
from worker.training.components.optimizers import OPTIMIZERS, Weights
from worker.training.config import parse_section
from worker.training.data import DATA, Dataset, Split, SplitName
from worker.training.models import MODELS

# Models


def perceptron(dataset: Dataset, widths: list[int], activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Return a plain perceptron with PyTorch's own initialisation."""
    layers: list[nn.Module] = [nn.Flatten()]
    for width_in, width_out in itertools.pairwise([dataset.num_features, *widths]):
        layers += [nn.Linear(width_in, width_out), activation()]
    return nn.Sequential(*layers, nn.Linear(([dataset.num_features, *widths])[-1], dataset.num_outputs))


def scaled_start(dataset: Dataset, *, depth: int = 3, width: int = 64, scale: float = 1.0) -> nn.Module:
    """A perceptron whose first weights are multiplied by a factor, and whose biases begin at 0."""
    model = perceptron(dataset, [width] * depth)
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(scale)
                layer.bias.zero_()
    return model


def deep_sigmoids(dataset: Dataset, *, depth: int = 8, width: int = 32) -> nn.Module:
    """Many layers of sigmoids, through which hardly any gradient reaches the first."""
    return perceptron(dataset, [width] * depth, nn.Sigmoid)


def wild_start(dataset: Dataset, *, depth: int = 8, width: int = 64, std: float = 1.0) -> nn.Module:
    """Many layers of wide normal weights without a norm, each of which makes the signal several times larger."""
    model = perceptron(dataset, [width] * depth)
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.weight.normal_(0.0, std)
    return model


def dead_units(dataset: Dataset, *, width: int = 64, dead: float = 0.9) -> nn.Module:
    """Hidden ReLU units of which a share has biases that keep them at 0 for every example."""
    model = perceptron(dataset, [width, width])
    with torch.no_grad():
        for layer in (model[1], model[3]):
            layer.bias[: round(width * dead)] = -20.0
    return model


class _IgnoresInput(nn.Module):
    def __init__(self, dataset: Dataset) -> None:
        super().__init__()
        self.network = perceptron(dataset, [32])

    def forward(self, features: Tensor) -> Tensor:
        output: Tensor = self.network(features * 0.0)
        return output


def ignores_input(dataset: Dataset) -> nn.Module:
    """A model that multiplies its input by 0."""
    return _IgnoresInput(dataset)


def _perceptron_with(dataset: Dataset, depth: int, activation: str, change: Callable[[Tensor], object]) -> nn.Module:
    model = perceptron(dataset, [32] * depth, {"relu": nn.ReLU, "tanh": nn.Tanh, "none": nn.Identity}[activation])
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Linear):
                change(layer.weight)
                layer.bias.zero_()
    return model


def normal_start(dataset: Dataset, *, depth: int = 6, std: float = 1.0, activation: str = "relu") -> nn.Module:
    """A perceptron whose weights begin normal with one deviation, whatever the width."""
    return _perceptron_with(dataset, depth, activation, lambda weight: weight.normal_(0.0, std))


def uniform_start(dataset: Dataset, *, depth: int = 4) -> nn.Module:
    """A perceptron whose weights begin uniform from 0 to 1."""
    return _perceptron_with(dataset, depth, "relu", lambda weight: weight.uniform_(0.0, 1.0))


def constant_start(dataset: Dataset, *, depth: int = 2, value: float = 0.0) -> nn.Module:
    """A perceptron whose weights all begin with one value."""
    return _perceptron_with(dataset, depth, "relu", lambda weight: weight.fill_(value))


def deep_linear(dataset: Dataset, *, depth: int = 3) -> nn.Module:
    """Layers without an activation between them."""
    return _perceptron_with(dataset, depth, "none", lambda weight: weight)


def with_softmax(dataset: Dataset) -> nn.Module:
    """Probabilities in place of logits, so that the loss applies a second softmax."""
    return nn.Sequential(perceptron(dataset, [32]), nn.Softmax(1))


def with_relu_output(dataset: Dataset) -> nn.Module:
    """A ReLU on the output, so that no value below 0 is predicted."""
    return nn.Sequential(perceptron(dataset, [32]), nn.ReLU())


def with_sigmoid_output(dataset: Dataset) -> nn.Module:
    """A sigmoid on the output, so that only values from 0 to 1 are predicted."""
    return nn.Sequential(perceptron(dataset, [32]), nn.Sigmoid())


class _Loss(nn.Module):
    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.function(outputs, targets)


def squared_probabilities(dataset: Dataset) -> nn.Module:
    """The squared error of class probabilities."""
    size = dataset.num_classes
    return _Loss(
        lambda outputs, targets: (outputs.softmax(1) - functional.one_hot(targets, size)).square().mean(),
    )


def negated(_: Dataset) -> nn.Module:
    """The mean log-likelihood, which training then makes smaller."""
    return _Loss(lambda outputs, targets: -functional.cross_entropy(outputs, targets))


class _DoesNothing(torch.optim.SGD):
    def step(self, closure: Any = None) -> Any:  # noqa: ARG002
        return None


def does_nothing(weights: Weights, *, lr: float = 0.1) -> torch.optim.Optimizer:
    """An optimizer whose step changes no weight."""
    return _DoesNothing(weights, lr=lr)


# Data

Break = Callable[[Dataset], Dataset]


def _with_targets(dataset: Dataset, names: tuple[SplitName, ...], change: Callable[[Tensor], Tensor]) -> Dataset:
    return replace(
        dataset,
        splits={
            name: replace(each, targets=change(each.targets)) if name in names else each
            for name, each in dataset.splits.items()
        },
    )


def wrong_labels(share: float) -> Break:
    """Return a break that permutes the labels of a share of the training and validation examples."""

    def change(targets: Tensor) -> Tensor:
        stream = torch.Generator().manual_seed(1)
        chosen = torch.randperm(len(targets), generator=stream)[: round(len(targets) * share)]
        targets = targets.clone()
        targets[chosen] = targets[chosen[torch.randperm(len(chosen), generator=stream)]]
        return targets

    return lambda dataset: _with_targets(dataset, ("train", "val"), change)


def raw_features(dataset: Dataset) -> Dataset:
    """Undo the standardisation: columns of means and scales between a thousandth and a thousand."""
    stream = np.random.default_rng(1)
    scales = torch.tensor(10 ** stream.uniform(-3, 3, dataset.shape[-1]), dtype=torch.float32)
    shifts = torch.tensor(stream.uniform(0, 3, dataset.shape[-1]), dtype=torch.float32)
    return replace(
        dataset,
        splits={
            name: replace(each, features=(each.features + shifts) * scales) for name, each in dataset.splits.items()
        },
    )


class _InOrder(Dataset):
    """Gives the training examples in one fixed order, whatever batch the training asks for."""

    def batch(self, split: Split, indices: Tensor | slice) -> tuple[Tensor, Tensor]:
        # Training asks with gradients on; evaluation, which must see the examples it asks for, without.
        if torch.is_grad_enabled() and isinstance(indices, Tensor) and split is self.train:
            begin = self.__dict__.setdefault("position", 0)
            rows = torch.arange(begin, begin + len(indices)) % len(split)
            self.__dict__["position"] = (begin + len(indices)) % len(split)
            return super().batch(split, rows)
        return super().batch(split, indices)


def not_shuffled(dataset: Dataset) -> Dataset:
    """Sort the training examples by target, and train on them in that order."""
    train = dataset.train
    order = train.targets.flatten(1).float().mean(1).argsort() if train.targets.ndim > 1 else train.targets.argsort()
    ordered = Split(train.features[order], train.targets[order])
    return _InOrder(**{**vars(dataset), "splits": {**dataset.splits, "train": ordered}})


def raw_targets(dataset: Dataset) -> Dataset:
    """Multiply the standardised targets by a thousand."""
    return _with_targets(dataset, tuple(dataset.splits), lambda targets: targets * 1000)


def validation_labels_shifted(dataset: Dataset) -> Dataset:
    """Encode the validation labels by another mapping than the training labels."""
    return _with_targets(dataset, ("val",), lambda targets: (targets + 1) % dataset.num_classes)


def rare_class(dataset: Dataset) -> Dataset:
    """Keep only a few examples of the first class."""
    splits: dict[SplitName, Split] = {}
    for name, each in dataset.splits.items():
        rows = torch.cat([(each.targets != 0).nonzero().flatten(), (each.targets == 0).nonzero().flatten()[:4]])
        splits[name] = Split(each.features[rows], each.targets[rows])
    return replace(dataset, splits=splits)


def circles() -> Dataset:
    """Two noisy circles, one in the other: 400 points of 2 classes."""
    features, targets = make_circles(400, noise=0.1, factor=0.5, random_state=0)
    order = np.random.default_rng(0).permutation(len(targets))
    parts: dict[SplitName, Any] = {"train": order[:240], "val": order[240:320], "test": order[320:]}
    splits = {
        name: Split(torch.from_numpy(features[rows]).float(), torch.from_numpy(targets[rows]).long())
        for name, rows in parts.items()
    }
    return Dataset("classification", splits, ("outer", "inner"))


BREAKS: Mapping[str, Break] = {
    "labels permuted": wrong_labels(1.0),
    "half of the labels permuted": wrong_labels(0.5),
    "features not scaled": raw_features,
    "examples not shuffled": not_shuffled,
    "targets not scaled": raw_targets,
    "validation labels shifted": validation_labels_shifted,
    "one class rare": rare_class,
}
"""The ways to break data: name -> what changes a sound dataset into a broken one."""


def broken_data(section: Mapping[str, Any], fault: str) -> dict[str, Any]:
    """Return the section `data` of a configuration whose data is `section` broken by `fault`.

    The entry is registered under a name of its own, once.
    """
    parsed = parse_section(DATA, section)
    name = f"broken_{zlib.crc32(repr((sorted(section.items()), fault)).encode())}"
    if name not in [entry.name for entry in DATA]:

        def factory() -> Dataset:
            """Broken data."""
            return BREAKS[fault](DATA.create(parsed.name, parsed.settings))

        factory.__name__ = name
        DATA.add(factory)
    return {"name": name}


def register() -> None:
    """Register the broken models and optimizers with the core."""
    for factory in (
        scaled_start, deep_sigmoids, wild_start, dead_units, ignores_input, normal_start, uniform_start, constant_start,
        deep_linear, with_softmax, with_relu_output, with_sigmoid_output,
    ):  # fmt: skip
        MODELS.add(factory)
    for loss in (squared_probabilities, negated):
        LOSSES.add(loss, kinds=["classification"])
    DATA.add(circles)
    OPTIMIZERS.add(does_nothing)
