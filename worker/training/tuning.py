"""Which of a model's weights learn, how fast, and from when on; decides nothing of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Learning:
    """Weights that learn alike.

    `rate` is their share of the learning rate, `begins` the fraction of the training at which they begin to learn.
    """

    weights: Sequence[nn.Parameter]
    rate: float = 1.0
    begins: float = 0.0


@dataclass(frozen=True)
class Tuning:
    """A model and what of it learns; weights that are in no group stay as they are."""

    model: nn.Module
    groups: Sequence[Learning]

    def __post_init__(self) -> None:
        self.model.requires_grad_(False)
        for group in self.groups:
            for weight in group.weights:
                weight.requires_grad_(True)

    @property
    def num_parameters(self) -> int:
        """How many numbers learn, sooner or later."""
        return sum(weight.numel() for group in self.groups for weight in group.weights)

    def begin_epoch(self, fraction: float) -> None:
        """Put the model in training mode, with what learns at this fraction of the training.

        A batch norm whose weights don't learn keeps its statistics too: it is part of what the rest was trained with.
        """
        for group in self.groups:
            for weight in group.weights:
                weight.requires_grad_(group.begins <= fraction + _ROUNDING)
        self.model.train()
        for layer in self.model.modules():
            if isinstance(layer, _NormBase) and layer.affine and not any(w.requires_grad for w in layer.parameters()):
                layer.eval()
