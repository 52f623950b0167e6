"""Metrics of regression: errors in the target's own unit, relative errors, and R², all computed in float64."""

import torch
from torch import Tensor
from torchmetrics import Metric

from worker.training.components.metrics.example_mean import ExampleMean
from worker.training.data import Dataset
from worker.training.errors import ConfigError

# A target's float32 rounding may move a 0 below 0 by this many standard deviations.
_ROUNDING = 1e-5


class R2(Metric):
    """Coefficient of determination: 1 - squared error / squared distance from the mean.

    The sums are of standardised values, because the squares of values far from 0 would lose the digits that differ.

    Args:
        mean: the mean of the training targets.
        std: the standard deviation of the training targets.
    """

    full_state_update = False
    error: Tensor
    total: Tensor
    squares: Tensor
    count: Tensor

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self._mean, self._std = mean, std
        for name in ("error", "total", "squares", "count"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch of values [n] in the target's own unit, float64."""
        outputs, targets = ((values - self._mean) / self._std for values in (outputs, targets))
        self.error += (outputs - targets).square().sum()
        self.total += targets.sum()
        self.squares += targets.square().sum()
        self.count += targets.numel()

    def compute(self) -> Tensor:
        """Return R² over all batches."""
        return 1 - self.error / (self.squares - self.total.square() / self.count)


def rmse(_: Dataset) -> Metric:
    """Root mean squared error, in the target's own unit."""
    return ExampleMean(_squared_error, torch.sqrt)


def mse(_: Dataset) -> Metric:
    """Mean squared error, in the target's own unit squared; comparable between losses."""
    return ExampleMean(_squared_error)


def mae(_: Dataset) -> Metric:
    """Mean absolute error, in the target's own unit."""
    return ExampleMean(lambda outputs, targets: (outputs - targets).abs())


def r2(dataset: Dataset) -> Metric:
    """Coefficient of determination: the share of the variance that is explained; needs two different target values."""
    return R2(dataset.target_mean, dataset.target_std)


def mape(_: Dataset) -> Metric:
    """Mean absolute percentage error, as a share: the mean of error / target; use it where no target is near 0."""
    smallest = torch.finfo(torch.float64).eps
    return ExampleMean(lambda outputs, targets: (outputs - targets).abs() / targets.abs().clamp_min(smallest))


def rmsle(dataset: Dataset) -> Metric:
    """Root mean squared error of log(1 + value), for targets of at least 0; predictions below 0 count as 0."""
    lowest = min(float(split.targets.min()) for split in dataset.splits.values() if len(split))
    if lowest + _ROUNDING < -dataset.target_mean / dataset.target_std:
        smallest = lowest * dataset.target_std + dataset.target_mean
        raise ConfigError("metrics.rmsle", f"needs targets of at least 0, and the smallest is {smallest:g}; use rmse")
    return ExampleMean(_squared_log_error, torch.sqrt)


def _squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square()


def _squared_log_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.clamp_min(0).log1p() - targets.clamp_min(0).log1p()).square()
