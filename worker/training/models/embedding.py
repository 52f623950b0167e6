"""The inputs of row models: numbers as they are, indices of categories through an embedding each."""

import torch
from torch import Tensor, nn

from worker.training.data import Dataset


class Rows(nn.Module):
    """[n, ...] -> [n, width]: images are flattened, the dataset's categories embedded beside the numbers."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__()
        self.num_numbers = dataset.num_features - len(dataset.categories)
        self.embeddings = nn.ModuleList(nn.Embedding(number, _width(number)) for number in dataset.categories)
        self.width = self.num_numbers + sum(_width(number) for number in dataset.categories)

    def forward(self, features: Tensor) -> Tensor:
        features = features.flatten(1)
        if not self.embeddings:
            return features
        indices = features[:, self.num_numbers :].long()
        embedded = [embed(indices[:, column]) for column, embed in enumerate(self.embeddings)]
        return torch.cat([features[:, : self.num_numbers], *embedded], dim=1)


def _width(num_categories: int) -> int:
    """Half the number of categories, at most 50: a rule of thumb (Guo & Berkhahn 2016 tried such sizes)."""
    return min(50, (num_categories + 1) // 2)
