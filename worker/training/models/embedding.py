"""The input layer of row models: numbers as they are, and an embedding for each categorical column."""

import torch
from torch import Tensor, nn

from worker.training.data import Dataset


class Rows(nn.Module):
    """Maps [n, ...] to [n, width]: flattens images, and embeds the dataset's categories beside the numbers."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__()
        self.num_numbers = dataset.num_features - len(dataset.categories)
        self.embeddings = nn.ModuleList(nn.Embedding(number, _width(number)) for number in dataset.categories)
        self.width = self.num_numbers + sum(_width(number) for number in dataset.categories)

    def forward(self, features: Tensor) -> Tensor:
        """Map features [n, ...] to [n, width]."""
        features = features.flatten(1)
        if not self.embeddings:
            return features
        indices = features[:, self.num_numbers :].long()
        embedded = [embed(indices[:, column]) for column, embed in enumerate(self.embeddings)]
        return torch.cat([features[:, : self.num_numbers], *embedded], dim=1)


class RowScorer(nn.Module):
    """Applies a row model to queries: features [n, rows, num_features] to a score of each row, [n, rows]."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor) -> Tensor:
        """Map features [n, rows, num_features] to scores [n, rows]."""
        scores: Tensor = self.model(features.flatten(0, 1))
        return scores.view(features.shape[:2])


def apply_to_rows(model: nn.Module, dataset: Dataset) -> nn.Module:
    """Return the row model as the dataset needs it: unchanged, or applied to each row of a query."""
    return RowScorer(model) if dataset.inputs == "queries" else model


def _width(num_categories: int) -> int:
    """Return half the number of categories, at most 50, a rule of thumb (Guo & Berkhahn 2016 tried such sizes)."""
    return min(50, (num_categories + 1) // 2)
