"""A small vision transformer: [n, channels, height, width] to [n, num_outputs]."""

from typing import Annotated

import torch
from torch import Tensor, nn

from worker.training.data import Dataset
from worker.training.errors import ConfigError
from worker.training.models.blocks import Activation, Dropout, Init, initialise
from worker.training.models.transformer import INITIAL_STD, Depth, Heads, Width, transformer
from worker.training.parameters import Setting


def vit(
    dataset: Dataset,
    *,
    patch: Annotated[int, Setting("height and width in pixels of the patches an image is cut into", low=1)] = 4,
    depth: Depth = 4,
    width: Width = 64,
    heads: Heads = 4,
    activation: Activation = "gelu",
    dropout: Dropout = 0.0,
    init: Init = "default",
) -> nn.Module:
    """A vision transformer over patches, with learned positions and mean pooling (Dosovitskiy et al. 2021)."""
    _, height, image_width = dataset.shape
    if height % patch or image_width % patch:
        raise ConfigError(
            "model.patch",
            f"images of {height} by {image_width} pixels can't be divided into patches of {patch}; use a divisor",
        )
    model = _VisionTransformer(
        dataset, patch=patch, depth=depth, width=width, heads=heads, dropout=dropout, activation=activation
    )
    return initialise(model, init, activation)


class _VisionTransformer(nn.Module):
    def __init__(
        self, dataset: Dataset, *, patch: int, depth: int, width: int, heads: int, dropout: float, activation: str
    ) -> None:
        super().__init__()
        channels, height, image_width = dataset.shape
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        self.positions = nn.Parameter(torch.empty((height // patch) * (image_width // patch), width))
        nn.init.normal_(self.positions, std=INITIAL_STD)
        self.drop = nn.Dropout(dropout)
        self.blocks = transformer(depth, width, heads, dropout, activation, causal=False)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, dataset.num_outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, channels, height, width] to outputs [n, num_outputs]."""
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        output: Tensor = self.head(self.norm(self.blocks(self.drop(tokens))).mean(1))
        return output
