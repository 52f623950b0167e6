"""Pre-norm transformer blocks for images and tokens: [n, length, width] to [n, length, width]."""

import math
from typing import Annotated, TypeAlias

from torch import Tensor, nn
from torch.nn import functional

from worker.training.errors import ConfigError
from worker.training.models.blocks import ACTIVATIONS, Blocks
from worker.training.parameters import Setting

Depth: TypeAlias = Annotated[int, Setting("number of transformer blocks", low=1)]
Width: TypeAlias = Annotated[int, Setting("width of each token's vector, a multiple of heads", low=1)]
Heads: TypeAlias = Annotated[int, Setting("attention heads in each block", low=1)]

# GPT-2's value, small enough that the softmax over a large vocabulary starts nearly uniform.
INITIAL_STD = 0.02


class Block(nn.Module):
    """A pre-norm transformer block: multi-head attention and a two-layer perceptron (Xiong et al. 2020).

    Each of the two is applied to the layer-normed input and added to the input.
    """

    def __init__(self, width: int, heads: int, dropout: float, activation: str, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.dropout, self.causal = heads, dropout, causal
        self.attention_norm, self.perceptron_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, 4 * width), ACTIVATIONS[activation](), nn.Linear(4 * width, width)
        )
        self.drop = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map [n, length, width] to [n, length, width]."""
        tokens = tokens + self.drop(self._attention(self.attention_norm(tokens)))
        output: Tensor = tokens + self.drop(self.perceptron(self.perceptron_norm(tokens)))
        return output

    def _attention(self, tokens: Tensor) -> Tensor:
        number, length, width = tokens.shape
        # Splits [n, length, 3 · width] into query, key and value, each [n, heads, length, width / heads].
        query, key, value = self.attend(tokens).view(number, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        heads = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=self.causal)
        merged: Tensor = self.merge(heads.transpose(1, 2).reshape(number, length, width))
        return merged


def transformer(depth: int, width: int, heads: int, dropout: float, activation: str, *, causal: bool) -> Blocks:
    """Return a stack of blocks, initialised as GPT-2: residual outputs have std 0.02 / sqrt(2 · depth), others 0.02.

    Args:
        depth: number of blocks.
        width: width of each token's vector.
        heads: attention heads in each block.
        dropout: share of units left out in training, in [0, 1].
        activation: a key of `ACTIVATIONS`.
        causal: whether a token attends only to itself and earlier tokens.

    Raises:
        ConfigError: `width` is not a multiple of `heads`.
    """
    if width % heads:
        raise ConfigError("model.heads", f"the width {width} is not a multiple of {heads} heads; change one of them")
    blocks = Blocks(*(Block(width, heads, dropout, activation, causal=causal) for _ in range(depth)))
    for name, layer in blocks.named_modules():
        if isinstance(layer, nn.Linear):
            adds = name.endswith(("merge", "perceptron.2"))
            nn.init.normal_(layer.weight, std=INITIAL_STD / math.sqrt(2 * depth) if adds else INITIAL_STD)
            nn.init.zeros_(layer.bias)
    return blocks
