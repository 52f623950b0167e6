"""Several models as one that answers with the mean of what they answer."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from worker.training.link import Link


class MeanOf(nn.Module):
    """Outputs that stand for the mean probabilities, or values, of the models' own: soft voting."""

    def __init__(self, models: Sequence[nn.Module], link: Link) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self.link = link

    def forward(self, features: Tensor) -> Tensor:
        total: Tensor = torch.zeros((), device=features.device)
        for model in self.models:  # one after the other: a language model's answers are large
            total = total + self.link.means(model(features).float())
        return self.link.outputs(total / len(self.models))
