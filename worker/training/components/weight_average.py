"""Exponential moving average of a model's weights, whose decay warms up."""

from typing import TypeAlias

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

_Tensors: TypeAlias = tuple[Tensor, ...] | list[Tensor]


class WeightAverage(AveragedModel):
    """A running mean of the weights that begins at the initial weights and is updated after each optimizer step.

    After n updates the mean keeps `min(decay, (1 + n) / (10 + n))` of itself in the next one, as in TensorFlow's
    ExponentialMovingAverage with `num_updates`. So the initial weights lose their share soon, however large the decay.

    Args:
        model: the model, at its initial weights.
        decay: the share of itself that the mean keeps in each update after the warm-up, in [0, 1].
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, multi_avg_fn=self._update)
        self._decay = decay
        # The initial weights count as the first ones, because a mean of none would copy those after the first step.
        self.restart(model)

    @property
    def num_updates(self) -> int:
        """Number of updates so far. A checkpoint holds it; it stays on the CPU, so that reading it never waits."""
        return int(self.n_averaged) - 1

    def restart(self, model: nn.Module) -> None:
        """Begin anew at the model's current weights."""
        self.module.load_state_dict(model.state_dict())
        self.n_averaged.fill_(1)

    def _update(self, mean: _Tensors, weights: _Tensors, num_averaged: Tensor | int) -> None:
        decay = min(self._decay, (1 + self.num_updates) / (10 + self.num_updates))
        get_ema_multi_avg_fn(decay)(mean, weights, num_averaged)  # type: ignore[no-untyped-call]
