"""A small GPT: tokens [n, length] to next-token logits [n, length, num_outputs], or [n, num_outputs] per text."""

import torch
from torch import Tensor, nn

from worker.training.data import Dataset
from worker.training.models.blocks import Activation, Dropout, Init, initialise
from worker.training.models.transformer import INITIAL_STD, Depth, Heads, Width, transformer


def gpt(
    dataset: Dataset,
    *,
    depth: Depth = 4,
    width: Width = 128,
    heads: Heads = 4,
    activation: Activation = "gelu",
    dropout: Dropout = 0.0,
    init: Init = "default",
) -> nn.Module:
    """A decoder-only transformer with learned positions (Radford et al. 2019); classifies by its last token."""
    model = _Gpt(dataset, depth=depth, width=width, heads=heads, dropout=dropout, activation=activation)
    return initialise(model, init, activation)


class _Gpt(nn.Module):
    def __init__(
        self, dataset: Dataset, *, depth: int, width: int, heads: int, dropout: float, activation: str
    ) -> None:
        super().__init__()
        (length,) = dataset.shape
        self.every_token = dataset.kind == "language"
        self.tokens = nn.Embedding(dataset.vocabulary, width)
        self.positions = nn.Parameter(torch.empty(length, width))
        nn.init.normal_(self.tokens.weight, std=INITIAL_STD)
        nn.init.normal_(self.positions, std=INITIAL_STD)
        self.drop = nn.Dropout(dropout)
        self.blocks = transformer(depth, width, heads, dropout, activation, causal=True)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, dataset.num_outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [n, length] to logits [n, length, num_outputs] for language modelling, else [n, num_outputs]."""
        vectors = self.drop(self.tokens(tokens) + self.positions[: tokens.shape[1]])
        vectors = self.norm(self.blocks(vectors))
        output: Tensor = self.head(vectors if self.every_token else vectors[:, -1])
        return output
