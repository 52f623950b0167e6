"""Models of rows of numbers: linear and multi-layer perceptron, [n, num_inputs] -> [n, num_outputs]."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

from torch import nn

from worker.training.parameters import Setting

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


def linear(num_inputs: int, num_outputs: int) -> nn.Module:
    """One linear layer: the baseline that any larger model has to beat."""
    return nn.Linear(num_inputs, num_outputs)


def mlp(
    num_inputs: int,
    num_outputs: int,
    *,
    hidden: Annotated[Sequence[int], Setting("widths of the hidden layers", low=1)] = (128,),
    dropout: Annotated[float, Setting("share of hidden units left out in training", low=0.0, high=1.0)] = 0.0,
    activation: Annotated[Literal["relu", "gelu", "silu", "tanh"], Setting("after each hidden layer")] = "relu",
) -> nn.Module:
    """A multi-layer perceptron: hidden layers with activation and dropout, then a linear layer."""
    widths = [num_inputs, *hidden]
    layers: list[nn.Module] = []
    for width_in, width_out in pairwise(widths):
        layers += [nn.Linear(width_in, width_out), _ACTIVATIONS[activation](), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(widths[-1], num_outputs))
