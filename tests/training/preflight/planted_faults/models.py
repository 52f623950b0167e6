"""Broken models, one fault each."""

from __future__ import annotations

import itertools
import math
import random

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.training.preflight.planted_faults.fault import plant
from worker.training.data import Dataset
from worker.training.models import MODELS


def perceptron(dataset: Dataset, width: int = 32) -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(dataset.num_features, width), nn.ReLU(), nn.Linear(width, dataset.num_outputs)
    )


class Wrapped(nn.Module):
    """A sound network, for subclasses that spoil its inputs, its state or its outputs."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__()
        self.network = perceptron(dataset)

    def forward(self, features: Tensor) -> Tensor:
        output: Tensor = self.network(features)
        return output


# 1: shapes, types, one step


@plant(MODELS)
def one_output_too_many(dataset: Dataset) -> nn.Module:
    """One logit more than there are classes, which cross entropy accepts."""
    return nn.Sequential(nn.Flatten(), nn.Linear(dataset.num_features, dataset.num_outputs + 1))


@plant(MODELS)
def wrong_input_width(dataset: Dataset) -> nn.Module:
    """A first layer that does not fit the features."""
    return nn.Sequential(nn.Flatten(), nn.Linear(dataset.num_features - 1, dataset.num_outputs))


@plant(MODELS)
def softmax_outputs(dataset: Dataset) -> nn.Module:
    """Probabilities in place of logits, so that the loss applies a second softmax."""
    return nn.Sequential(perceptron(dataset), nn.Softmax(1))


class _ChangesItsInput(Wrapped):
    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features.mul_(0.99))


@plant(MODELS)
def changes_its_input(dataset: Dataset) -> nn.Module:
    """Multiplies its input in place, and so changes the validation set a little at every evaluation."""
    return _ChangesItsInput(dataset)


class _NotANumber(Wrapped):
    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features).log()


@plant(MODELS)
def log_of_a_negative(dataset: Dataset) -> nn.Module:
    """The logarithm of an output that may be negative."""
    return _NotANumber(dataset)


# 2: initial loss


@plant(MODELS)
def huge_head(dataset: Dataset) -> nn.Module:
    """A last layer whose weights begin a hundred times too large."""
    model = perceptron(dataset)
    with torch.no_grad():
        model[-1].weight.mul_(100.0)
    return model


@plant(MODELS)
def biased_head(dataset: Dataset) -> nn.Module:
    """A last layer that is sure of the first class before it has seen an example."""
    model = perceptron(dataset)
    with torch.no_grad():
        model[-1].bias[0] = 20.0
    return model


# 3: one small batch overfitted


class _IgnoresItsInput(Wrapped):
    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features * 0.0)


@plant(MODELS)
def ignores_its_input(dataset: Dataset) -> nn.Module:
    """A model that multiplies its input by 0."""
    return _IgnoresItsInput(dataset)


class _MixesTheBatch(Wrapped):
    def forward(self, features: Tensor) -> Tensor:
        outputs = super().forward(features)
        return outputs[torch.randperm(len(outputs))] if self.training else outputs


@plant(MODELS)
def mixes_the_batch(dataset: Dataset) -> nn.Module:
    """Returns the outputs in another order than the targets' in training."""
    return _MixesTheBatch(dataset)


# 4: learning-rate range


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, values: Tensor) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return -gradient


class _ReversedGradient(Wrapped):
    def forward(self, features: Tensor) -> Tensor:
        reversed_outputs: Tensor = _Reverse.apply(super().forward(features))
        return reversed_outputs


@plant(MODELS)
def reversed_gradient(dataset: Dataset) -> nn.Module:
    """A gradient-reversal layer left before the output."""
    return _ReversedGradient(dataset)


# 5: gradients and activations by layer


@plant(MODELS)
def dead_relus(dataset: Dataset) -> nn.Module:
    """Hidden units whose biases keep them at 0 for every example."""
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(dataset.num_features, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(),
        nn.Linear(64, dataset.num_outputs),
    )  # fmt: skip
    with torch.no_grad():
        model[3].bias[:56] = -20.0
    return model


@plant(MODELS)
def deep_sigmoids(dataset: Dataset) -> nn.Module:
    """Twelve layers of sigmoids, through which no gradient reaches the first."""
    layers = [part for _ in range(12) for part in (nn.Linear(32, 32), nn.Sigmoid())]
    return nn.Sequential(nn.Flatten(), nn.Linear(dataset.num_features, 32), *layers, nn.Linear(32, dataset.num_outputs))


class _SaturatedTanh(nn.Module):
    def __init__(self, dataset: Dataset) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(dataset.num_features, 32), nn.Linear(32, dataset.num_outputs)
        with torch.no_grad():
            self.first.weight.mul_(60.0)

    def forward(self, features: Tensor) -> Tensor:
        hidden: Tensor = self.head(torch.tanh(self.first(features.flatten(1))))
        return hidden


@plant(MODELS)
def saturated_tanh(dataset: Dataset) -> nn.Module:
    """A tanh, called as a function, whose inputs are so large that it is -1 or 1 everywhere."""
    return _SaturatedTanh(dataset)


class _SaturatedSigmoid(nn.Module):
    def __init__(self, dataset: Dataset) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(dataset.num_features, 48), nn.Linear(48, dataset.num_outputs)

    def forward(self, features: Tensor) -> Tensor:
        hidden: Tensor = self.head(self.first(features.flatten(1) * 150.0).sigmoid())
        return hidden


@plant(MODELS)
def saturated_sigmoid(dataset: Dataset) -> nn.Module:
    """Sigmoids whose inputs have another scale than the model expects."""
    return _SaturatedSigmoid(dataset)


@plant(MODELS)
def exploding_depth(dataset: Dataset) -> nn.Module:
    """Ten layers of standard normal weights, each of which makes the signal several times larger."""
    widths = [dataset.num_features, *[64] * 10]
    layers: list[nn.Module] = []
    for width_in, width_out in itertools.pairwise(widths):
        layer = nn.Linear(width_in, width_out)
        nn.init.normal_(layer.weight)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(64, dataset.num_outputs))


class _DetachedBody(Wrapped):
    def forward(self, features: Tensor) -> Tensor:
        *body, head = self.network
        for layer in body:
            features = layer(features)
        outputs: Tensor = head(features.detach())
        return outputs


@plant(MODELS)
def detached_body(dataset: Dataset) -> nn.Module:
    """A `detach` before the head, so that the layers below never learn."""
    return _DetachedBody(dataset)


# 6: seconds and memory at the corners


class _Pairs(nn.Module):
    """Compares all pairs of its units, in memory that grows with the square of their number."""

    def __init__(self, dataset: Dataset, width: int) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(dataset.num_features, width), nn.Linear(width, dataset.num_outputs)

    def forward(self, features: Tensor) -> Tensor:
        hidden = self.first(features.flatten(1))
        pairs = hidden.unsqueeze(1) * hidden.unsqueeze(2)
        outputs: Tensor = self.head(pairs.mean(1))
        return outputs


@plant(MODELS)
def pairs(dataset: Dataset, *, width: int = 16) -> nn.Module:
    """Memory that grows with the square of the width."""
    return _Pairs(dataset, width)


class _Table(Wrapped):
    def __init__(self, dataset: Dataset, bits: int) -> None:
        super().__init__(dataset)
        self.register_buffer("table", torch.zeros(2**bits))


@plant(MODELS)
def table(dataset: Dataset, *, bits: int = 4) -> nn.Module:
    """A table whose size doubles with every bit."""
    return _Table(dataset, bits)


# 7: checkpoints, seeds, evaluation


class _LostMean(Wrapped):
    mean: Tensor | float = 0.0

    def forward(self, features: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * (features.mean() + 1.0).detach()
        return super().forward(features - self.mean)


@plant(MODELS)
def lost_running_mean(dataset: Dataset) -> nn.Module:
    """A running mean in a plain attribute, which no checkpoint holds."""
    return _LostMean(dataset)


class _UnsavedScale(Wrapped):
    scale: Tensor

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset)
        self.register_buffer("scale", torch.ones(()), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        if self.training:
            self.scale.mul_(0.9).add_(0.1 * features.detach().std() * 2)
        return super().forward(features / self.scale)


@plant(MODELS)
def unsaved_scale(dataset: Dataset) -> nn.Module:
    """A running scale in a buffer that is not persistent."""
    return _UnsavedScale(dataset)


class _Noise(Wrapped):
    def forward(self, features: Tensor) -> Tensor:
        noise = random.Random().gauss(0.0, 0.5) if self.training else 0.0
        return super().forward(features + noise)


@plant(MODELS)
def unseeded_noise(dataset: Dataset) -> nn.Module:
    """Noise from a stream that the training's seed does not reach."""
    return _Noise(dataset)


@plant(MODELS)
def unseeded_weights(dataset: Dataset) -> nn.Module:
    """Initial weights from a stream that the training's seed does not reach."""
    model = perceptron(dataset)
    stream = torch.Generator()
    stream.seed()
    with torch.no_grad():
        model[1].weight.normal_(0.0, 1 / math.sqrt(dataset.num_features), generator=stream)
    return model


class _DropoutAlways(Wrapped):
    def forward(self, features: Tensor) -> Tensor:
        return super().forward(functional.dropout(features, 0.3))


@plant(MODELS)
def dropout_in_evaluation(dataset: Dataset) -> nn.Module:
    """`functional.dropout` without `training=self.training`."""
    return _DropoutAlways(dataset)


class _BatchStatistics(Wrapped):
    def forward(self, features: Tensor) -> Tensor:
        features = features.flatten(1)
        return super().forward((features - features.mean(0)) / (features.std(0, unbiased=False) + 1e-5))


@plant(MODELS)
def batch_statistics_in_evaluation(dataset: Dataset) -> nn.Module:
    """Normalises by the statistics of the batch in evaluation too, so that an example's output depends on its batch."""
    return _BatchStatistics(dataset)


class _CountsEvaluations(Wrapped):
    seen: Tensor

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        self.seen.add_(len(features))
        return super().forward(features) / (1 + self.seen / 1000)


@plant(MODELS)
def evaluation_changes_state(dataset: Dataset) -> nn.Module:
    """A buffer that evaluation changes too, so that the second evaluation differs from the first."""
    return _CountsEvaluations(dataset)


# 9: every parameter changes something


@plant(MODELS)
def ignores_width(dataset: Dataset, *, width: int = 32) -> nn.Module:
    """Declares a width and builds another one."""
    return perceptron(dataset, 32)


@plant(MODELS)
def unknown_activation_is_relu(dataset: Dataset, *, activation: str = "relu") -> nn.Module:
    """Takes every activation that it does not know for ReLU."""
    known = {"relu": nn.ReLU, "gelu": nn.GELU}
    model = perceptron(dataset)
    model[2] = known.get(activation, nn.ReLU)()
    return model
