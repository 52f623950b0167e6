"""Losses by name: modules from outputs and targets to the batch's mean loss, each for one kind of task."""

from typing import Annotated

from torch import nn

from worker.training.parameters import Setting
from worker.training.registry import Registry

LOSSES: Registry[nn.Module] = Registry("loss")


def cross_entropy(
    *, label_smoothing: Annotated[float, Setting("probability spread evenly over all classes", low=0.0, high=1.0)] = 0.0
) -> nn.Module:
    """Cross entropy of the softmax of the outputs, with optional label smoothing (Szegedy et al. 2016)."""
    return nn.CrossEntropyLoss(label_smoothing=label_smoothing)


def mse() -> nn.Module:
    """Mean squared error, on targets standardised by the training part."""
    return nn.MSELoss()


def mae() -> nn.Module:
    """Mean absolute error, on targets standardised by the training part; less moved by outliers than mse."""
    return nn.L1Loss()


def huber(
    *,
    delta: Annotated[float, Setting("standardised error at which it turns linear", low=0.0, exclusive_low=True)] = 1.0,
) -> nn.Module:
    """Huber loss: squared for small errors, absolute for large ones (Huber 1964)."""
    return nn.HuberLoss(delta=delta)


LOSSES.add(cross_entropy, kind="classification")
for _regression in (mse, mae, huber):
    LOSSES.add(_regression, kind="regression")
