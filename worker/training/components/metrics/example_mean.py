"""The mean over examples of one number per example, summed in float64: the base of losses and errors as metrics."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics import Metric


class ExampleMean(Metric):
    """Averages `value(outputs, targets)` over all examples, then applies `finish`.

    Args:
        value: returns one number per example, [n], or per token.
        finish: maps the mean to the metric's value, such as the square root; None: the mean itself.
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(
        self, value: Callable[[Tensor, Tensor], Tensor], finish: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.value, self._finish = value, finish
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch."""
        values = self.value(outputs, targets)
        self.total += values.double().sum()
        self.count += values.numel()

    def compute(self) -> Tensor:
        """Return the metric over all batches."""
        mean = self.total / self.count
        return mean if self._finish is None else self._finish(mean)
