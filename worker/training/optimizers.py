"""Optimizers by name, over PyTorch's own; the learning rate is the base that a schedule scales."""

from collections.abc import Iterable
from typing import Annotated, TypeAlias

from torch import nn, optim

from worker.training.errors import ConfigError
from worker.training.parameters import Setting
from worker.training.registry import Registry

OPTIMIZERS: Registry[optim.Optimizer] = Registry("optimizer")

Weights: TypeAlias = Iterable[nn.Parameter]
LearningRate = Annotated[float, Setting("base learning rate, scaled by the schedule", low=0.0, exclusive_low=True)]
Momentum = Annotated[float, Setting("share of the previous update that is kept", low=0.0, high=1.0)]
Beta1 = Annotated[float, Setting("decay of the running mean of gradients", low=0.0, high=0.99999)]
Beta2 = Annotated[float, Setting("decay of the running mean of squared gradients", low=0.0, high=0.99999)]
L2Decay = Annotated[float, Setting("L2 penalty, added to the gradient", low=0.0)]
WeightDecay = Annotated[float, Setting("share of the weights taken off per step and unit of learning rate", low=0.0)]


@OPTIMIZERS.add
def sgd(
    weights: Weights,
    *,
    lr: LearningRate = 0.05,
    momentum: Momentum = 0.9,
    nesterov: Annotated[bool, Setting("look ahead along the momentum (Sutskever et al. 2013)")] = False,
    weight_decay: L2Decay = 0.0,
) -> optim.Optimizer:
    """Stochastic gradient descent with momentum."""
    if nesterov and momentum == 0:
        raise ConfigError("optimizer.nesterov", "needs a momentum above 0; set optimizer.momentum too")
    return optim.SGD(weights, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)


@OPTIMIZERS.add
def adam(
    weights: Weights,
    *,
    lr: LearningRate = 1e-3,
    beta1: Beta1 = 0.9,
    beta2: Beta2 = 0.999,
    weight_decay: L2Decay = 0.0,
) -> optim.Optimizer:
    """Adam (Kingma & Ba 2015); its weight decay is the L2 penalty, which the step size rescales: see adamw."""
    return optim.Adam(weights, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay)


@OPTIMIZERS.add
def adamw(
    weights: Weights,
    *,
    lr: LearningRate = 1e-3,
    beta1: Beta1 = 0.9,
    beta2: Beta2 = 0.999,
    weight_decay: WeightDecay = 1e-2,
) -> optim.Optimizer:
    """Adam with weight decay decoupled from the gradient (Loshchilov & Hutter 2019)."""
    return optim.AdamW(weights, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay)


@OPTIMIZERS.add
def rmsprop(
    weights: Weights,
    *,
    lr: LearningRate = 1e-3,
    alpha: Beta2 = 0.99,
    momentum: Momentum = 0.0,
    weight_decay: L2Decay = 0.0,
) -> optim.Optimizer:
    """RMSprop: steps divided by a running root mean square of the gradient (Hinton, lecture 6e)."""
    return optim.RMSprop(weights, lr=lr, alpha=alpha, momentum=momentum, weight_decay=weight_decay)
