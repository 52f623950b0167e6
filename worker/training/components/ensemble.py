"""Ensembles: several models as one, which averages their predictions."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from worker.training.components.link import Link


class MeanOf(nn.Module):
    """A soft-voting ensemble, whose outputs stand for the mean of the models' probabilities or values."""

    def __init__(self, models: Sequence[nn.Module], link: Link) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self.link = link

    def forward(self, features: Tensor) -> Tensor:
        """Return outputs [..., num_outputs] that `link.inverse` maps to the models' mean."""
        total: Tensor = torch.zeros((), device=features.device)
        for model in self.models:  # one at a time, because a language model's outputs are large
            total = total + self.link.inverse(model(features).float())
        return self.link.outputs(total / len(self.models))
