"""The trainable weights of a model: which ones learn, at what share of the learning rate, and from when on."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

_ROUNDING = 1e-9


@dataclass(frozen=True)
class ParamGroup:
    """A group of weights that are trained alike.

    Attributes:
        weights: the weights.
        rate: their factor of the learning rate.
        unfreeze_at: the fraction of the training, in [0, 1), at which they begin to learn.
    """

    weights: Sequence[nn.Parameter]
    rate: float = 1.0
    unfreeze_at: float = 0.0


@dataclass(frozen=True)
class TrainableModel:
    """A model with its trainable weights; weights in no group are frozen."""

    model: nn.Module
    groups: Sequence[ParamGroup]

    def __post_init__(self) -> None:
        self.model.requires_grad_(False)
        for group in self.groups:
            for weight in group.weights:
                weight.requires_grad_(True)

    @property
    def num_parameters(self) -> int:
        """Number of weights that are trained, including those that begin later."""
        return sum(weight.numel() for group in self.groups for weight in group.weights)

    def begin_epoch(self, fraction: float) -> None:
        """Set the model to training mode, and unfreeze the weights that have begun by this `fraction` of the training.

        A batch norm with frozen weights also keeps its running statistics, because the other layers were trained with
        them.
        """
        for group in self.groups:
            for weight in group.weights:
                weight.requires_grad_(group.unfreeze_at <= fraction + _ROUNDING)
        self.model.train()
        for layer in self.model.modules():
            if isinstance(layer, _NormBase) and layer.affine and not any(w.requires_grad for w in layer.parameters()):
                layer.eval()
