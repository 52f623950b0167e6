"""Shared parts of models: stacks of blocks, activations, weight initialisation, and their settings."""

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
Dropout: TypeAlias = Annotated[float, Setting("share of hidden units left out in training", low=0.0, high=0.99)]

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}
# The gain each uses for initialisation: GELU and SiLU are close to ReLU, which halves the variance.
_GAINS: dict[str, Literal["linear", "relu", "tanh"]] = {
    "linear": "linear", "relu": "relu", "gelu": "relu", "silu": "relu", "tanh": "tanh",
}  # fmt: skip


class Blocks(nn.Sequential):
    """A stack of blocks; with `activation_checkpointing` it takes less memory and more computation."""

    activation_checkpointing = False

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # nn.Sequential's own name for it
        """Apply the blocks in order."""
        for block in self:
            recompute = self.activation_checkpointing and self.training
            input = checkpoint(block, input, use_reentrant=False) if recompute else block(input)  # noqa: A001
        return input


def initialise(model: nn.Module, init: Init, activation: str) -> nn.Module:
    """Return the model with its weight matrices and kernels initialised as `init` says, and their biases set to 0.

    `kaiming` is normal with variance gain² / fan-in (He et al. 2015). `xavier` is uniform with variance 2 / (fan-in +
    fan-out) (Glorot & Bengio 2010). `orthogonal` preserves norms, times the gain (Saxe et al. 2014). Embeddings of
    tokens and positions are not changed.

    Args:
        model: the model, which is changed in place.
        init: the method; `default`: the model is returned unchanged.
        activation: the activation that follows the layers and determines the gain, or "linear"; for a recurrent layer's
            gates the gain is 1.
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
    """Yield the weights of a linear or convolutional layer, or of each gate of a recurrent layer."""
    if isinstance(layer, nn.Linear | nn.Conv2d):
        yield layer.weight
    elif isinstance(layer, nn.RNNBase):
        for name, weight in layer.named_parameters(recurse=False):
            if name.startswith("weight"):
                yield from torch.split(weight.detach(), layer.hidden_size)
