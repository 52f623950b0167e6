"""A custom model and a custom loss as entries of the training core: workers register this module, studies name them."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor, nn

from worker.training.components.losses import LOSSES
from worker.training.data import Dataset
from worker.training.models import MODELS
from worker.training.parameters import Setting


class Highway(nn.Module):
    """A gated layer that mixes its input and a transformation of it (Srivastava et al. 2015), [n, width] -> same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.change, self.gate = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gate(x).sigmoid() * (self.change(x).relu() - x)


@MODELS.add
def highway(
    dataset: Dataset,
    *,
    width: Annotated[int, Setting("width of every layer", low=1)] = 64,
    depth: Annotated[int, Setting("number of gated layers", low=0)] = 2,
) -> nn.Module:
    """A highway network on the flattened features."""
    layers = [Highway(width) for _ in range(depth)]
    ends = nn.Linear(dataset.num_features, width), nn.Linear(width, dataset.num_outputs)
    return nn.Sequential(nn.Flatten(), ends[0], *layers, ends[1])


def hinge(
    _: Dataset, *, margin: Annotated[float, Setting("by how much the right class must lead", low=0.0)] = 1.0
) -> nn.Module:
    """Multi-class hinge loss: penalises a true class whose logit does not exceed all others by the margin."""
    return nn.MultiMarginLoss(margin=margin)


LOSSES.add(hinge, kinds=["classification"])
