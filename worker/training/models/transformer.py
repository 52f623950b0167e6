"""The transformer's block, pre-norm, for images and tokens alike: [n, length, width] -> the same."""

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

# GPT-2's: small enough that the softmax over a large vocabulary begins even.
INITIAL_STD = 0.02


class Block(nn.Module):
    """Attention and a two-layer perceptron, each normed before and added to what comes in (Xiong et al. 2020)."""

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
        tokens = tokens + self.drop(self._attended(self.attention_norm(tokens)))
        output: Tensor = tokens + self.drop(self.perceptron(self.perceptron_norm(tokens)))
        return output

    def _attended(self, tokens: Tensor) -> Tensor:
        number, length, width = tokens.shape
        # [n, length, 3 · width] -> query, key and value, each [n, heads, length, width of a head].
        query, key, value = self.attend(tokens).view(number, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        heads = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=self.causal)
        merged: Tensor = self.merge(heads.transpose(1, 2).reshape(number, length, width))
        return merged


def transformer(depth: int, width: int, heads: int, dropout: float, activation: str, *, causal: bool) -> Blocks:
    """A stack of blocks, initialised as GPT-2: the deeper, the less each adds; ConfigError for uneven heads."""
    if width % heads:
        raise ConfigError("model.heads", f"{heads} heads can't share a width of {width}; it must be a multiple")
    blocks = Blocks(*(Block(width, heads, dropout, activation, causal=causal) for _ in range(depth)))
    for name, layer in blocks.named_modules():
        if isinstance(layer, nn.Linear):
            adds = name.endswith(("merge", "perceptron.2"))
            nn.init.normal_(layer.weight, std=INITIAL_STD / math.sqrt(2 * depth) if adds else INITIAL_STD)
            nn.init.zeros_(layer.bias)
    return blocks
