"""Broken losses and optimizers, one fault each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.nn import functional

from tests.training.preflight.planted_faults.fault import plant
from worker.training.components.augment import AUGMENTATIONS, Augment, Targets
from worker.training.components.losses import LOSSES
from worker.training.components.optimizers import OPTIMIZERS, Weights
from worker.training.components.schedules import SCHEDULES
from worker.training.data import Dataset


class _Loss(nn.Module):
    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.function(outputs, targets)


@plant(LOSSES, kinds=["classification"])
def summed(_: Dataset) -> nn.Module:
    """The sum over the batch in place of its mean."""
    return nn.CrossEntropyLoss(reduction="sum")


@plant(LOSSES, kinds=["classification"])
def wrong_sign(_: Dataset) -> nn.Module:
    """The mean log-likelihood, which training then makes smaller."""
    return _Loss(lambda outputs, targets: -functional.cross_entropy(outputs, targets))


@plant(LOSSES, kinds=["regression"])
def broadcast(_: Dataset) -> nn.Module:
    """Subtracts targets [n] from outputs [n, 1], which gives all pairs [n, n]."""
    return _Loss(lambda outputs, targets: (outputs - targets.squeeze(1)).square().mean())


@plant(LOSSES, kinds=["classification"])
def detached(_: Dataset) -> nn.Module:
    """Computes the loss of outputs cut from the graph, beside a term that never changes."""
    return _Loss(
        lambda outputs, targets: functional.cross_entropy(outputs.detach(), targets) + 0.0 * outputs.sum(),
    )


@plant(LOSSES, kinds=["classification"])
def ignores_smoothing(_: Dataset, *, smoothing: float = 0.0) -> nn.Module:
    """Declares a smoothing and computes the plain loss."""
    return nn.CrossEntropyLoss()


class _DoesNothing(optim.SGD):
    def step(self, closure: Any = None) -> Any:
        return None


@plant(OPTIMIZERS)
def does_nothing(weights: Weights, *, lr: float = 0.1) -> optim.Optimizer:
    """A step that changes no weight."""
    return _DoesNothing(weights, lr=lr)


@plant(OPTIMIZERS)
def ascends(weights: Weights, *, lr: float = 0.1) -> optim.Optimizer:
    """Climbs the loss."""
    return optim.SGD(weights, lr=lr, maximize=True)


class _TinySteps(optim.SGD):
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            group["lr"] *= 1e-9
        super().step(closure)


@plant(OPTIMIZERS)
def tiny_steps(weights: Weights, *, lr: float = 0.1) -> optim.Optimizer:
    """Divides its rate by a billion."""
    return _TinySteps(weights, lr=lr)


@plant(OPTIMIZERS)
def ignores_momentum(weights: Weights, *, lr: float = 0.1, momentum: float = 0.9) -> optim.Optimizer:
    """Declares a momentum and uses none."""
    return optim.SGD(weights, lr=lr)


@plant(AUGMENTATIONS)
def ignores_strength(_: Dataset, *, strength: float = 0.1) -> Augment:
    """Declares a strength and adds noise of another one."""

    def augment(features: Tensor, targets: Tensor) -> tuple[Tensor, Targets]:
        return features + 0.1 * torch.randn_like(features), [(1.0, targets)]

    return augment


@plant(SCHEDULES)
def ignores_slope(*, slope: float = 1.0) -> Callable[[float], float]:
    """Declares a slope and falls with another one."""
    return lambda fraction: 1.0 - 0.5 * fraction
