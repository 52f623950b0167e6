"""What models are made of alike: stacks of blocks, activations, first weights, and the settings for them."""

from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from worker.training.parameters import Setting

Activation: TypeAlias = Annotated[Literal["relu", "gelu", "silu", "tanh"], Setting("between the layers")]
Init: TypeAlias = Annotated[
    Literal["default", "kaiming", "xavier", "orthogonal"],
    Setting("first weights of the layers: the model's own, or He's, Glorot's or orthogonal ones with biases of 0"),
]
Dropout: TypeAlias = Annotated[float, Setting("share of hidden units left out in training", low=0.0, high=1.0)]

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}
# Whose gain each has: the smooth ones are near to a ReLU, which leaves half of a variance.
_GAINS: dict[str, Literal["linear", "relu", "tanh"]] = {
    "linear": "linear", "relu": "relu", "gelu": "relu", "silu": "relu", "tanh": "tanh",
}  # fmt: skip


class Blocks(nn.Sequential):
    """A stack of blocks; where `recompute` is set, their activations are made anew in the backward pass, not kept."""

    recompute = False

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # nn.Sequential's own name for it
        for block in self:
            recompute = self.recompute and self.training
            input = checkpoint(block, input, use_reentrant=False) if recompute else block(input)  # noqa: A001
        return input


def initialised(model: nn.Module, init: Init, activation: str) -> nn.Module:
    """The model with its matrices and kernels drawn as asked, scaled for what follows them, and biases of 0.

    `kaiming` is normal with the variance gain² / fan-in (He et al. 2015), `xavier` uniform with 2 / (fan-in + fan-out)
    (Glorot & Bengio 2010), and `orthogonal` keeps lengths, times the gain (Saxe et al. 2014). The gain is that of the
    activation; of gates, and of a model without activation, 1. Vectors of tokens and positions stay as they are.
    """
    if init == "default":
        return model
    for layer in model.modules():
        nonlinearity = "linear" if isinstance(layer, nn.RNNBase) else _GAINS[activation]
        for weight in _matrices(layer):
            match init:
                case "kaiming":
                    nn.init.kaiming_normal_(weight, nonlinearity=nonlinearity)
                case "xavier":
                    nn.init.xavier_uniform_(weight)
                case "orthogonal":
                    nn.init.orthogonal_(weight, nn.init.calculate_gain(nonlinearity))
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.RNNBase):
            for name, bias in layer.named_parameters(recurse=False):
                if name.startswith("bias"):
                    nn.init.zeros_(bias)
    return model


def _matrices(layer: nn.Module) -> Iterator[Tensor]:
    """The weights of a linear or convolutional layer, and each gate's of a recurrent one; of others none."""
    if isinstance(layer, nn.Linear | nn.Conv2d):
        yield layer.weight
    elif isinstance(layer, nn.RNNBase):
        for name, weight in layer.named_parameters(recurse=False):
            if name.startswith("weight"):
                yield from torch.split(weight.detach(), layer.hidden_size)
