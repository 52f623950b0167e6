"""What models are made of alike: stacks of blocks, activations, initialisation, and the settings for them."""

from typing import Annotated, Literal, TypeAlias

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from worker.training.parameters import Setting

Activation: TypeAlias = Annotated[Literal["relu", "gelu", "silu", "tanh"], Setting("between the layers")]
Init: TypeAlias = Annotated[
    Literal["default", "kaiming", "xavier", "orthogonal"],
    Setting("first weights of the layers: PyTorch's own, or He's, Glorot's or orthogonal ones with biases of 0"),
]
Dropout: TypeAlias = Annotated[float, Setting("share of hidden units left out in training", low=0.0, high=1.0)]

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


class Blocks(nn.Sequential):
    """A stack of blocks; where `recompute` is set, their activations are made anew in the backward pass, not kept."""

    recompute = False

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # nn.Sequential's own name for it
        for block in self:
            recompute = self.recompute and self.training
            input = checkpoint(block, input, use_reentrant=False) if recompute else block(input)  # noqa: A001
        return input


def initialised(model: nn.Module, init: Init, activation: str) -> nn.Module:
    """The model with the weights of its linear and convolutional layers drawn as asked; biases are 0 then."""
    if init == "default":
        return model
    gain = nn.init.calculate_gain("tanh" if activation == "tanh" else "relu")
    for layer in model.modules():
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            continue
        match init:
            case "kaiming":
                nn.init.kaiming_normal_(layer.weight, nonlinearity="tanh" if activation == "tanh" else "relu")
            case "xavier":
                nn.init.xavier_uniform_(layer.weight)
            case "orthogonal":
                nn.init.orthogonal_(layer.weight, gain)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return model
