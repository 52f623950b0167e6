"""Models of rows of numbers: linear and multi-layer perceptron, [n, ...] -> [n, num_outputs]; images are flattened."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

from torch import nn

from worker.training.data import Dataset
from worker.training.parameters import Setting

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


def linear(dataset: Dataset) -> nn.Module:
    """One linear layer: the baseline that any larger model has to beat."""
    return nn.Sequential(nn.Flatten(), nn.Linear(dataset.num_features, dataset.num_outputs))


def mlp(
    dataset: Dataset,
    *,
    hidden: Annotated[Sequence[int], Setting("widths of the hidden layers", low=1)] = (128,),
    dropout: Annotated[float, Setting("share of hidden units left out in training", low=0.0, high=1.0)] = 0.0,
    activation: Annotated[Literal["relu", "gelu", "silu", "tanh"], Setting("after each hidden layer")] = "relu",
) -> nn.Module:
    """A multi-layer perceptron: hidden layers with activation and dropout, then a linear layer."""
    widths = [dataset.num_features, *hidden]
    layers: list[nn.Module] = []
    for width_in, width_out in pairwise(widths):
        layers += [nn.Linear(width_in, width_out), _ACTIVATIONS[activation](), nn.Dropout(dropout)]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(widths[-1], dataset.num_outputs))
