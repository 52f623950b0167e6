"""Registry of optimizers: PyTorch's own, in their fastest implementation; a schedule scales the base learning rate."""

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

from torch import optim

from worker.training.errors import ConfigError
from worker.training.models.trainable import ParamGroup
from worker.training.parameters import Setting
from worker.training.registry import Registry

OPTIMIZERS: Registry[optim.Optimizer] = Registry("optimizer")

Weights: TypeAlias = Sequence[dict[str, Any]]
LearningRate = Annotated[float, Setting("base learning rate, scaled by the schedule", low=0.0, exclusive_low=True)]
Momentum = Annotated[
    float, Setting("share of the previous update that is kept; with 1 it never ends", low=0.0, high=0.9999)
]
Beta1 = Annotated[float, Setting("decay of the running mean of gradients", low=0.0, high=0.99999)]
Beta2 = Annotated[float, Setting("decay of the running mean of squared gradients", low=0.0, high=0.99999)]
L2Decay = Annotated[float, Setting("L2 penalty of the decayed weights, added to their gradient", low=0.0)]
WeightDecay = Annotated[
    float, Setting("share of the decayed weights taken off per step and unit of learning rate", low=0.0)
]


def weight_groups(param_groups: Sequence[ParamGroup]) -> Weights:
    """Return the trainable weights as parameter groups for an optimizer: per rate one with and one without decay.

    Matrices, kernels and embeddings decay. Biases and the scales of norms, which have one dimension, do not: decay does
    not make the function simpler there (He et al. 2019, "Bag of tricks").

    Args:
        param_groups: the groups of weights that are trained alike.

    Returns:
        Groups with `params`, `rate` (the group's factor of the learning rate) and `decays`.
    """
    groups: list[dict[str, Any]] = []
    for rate in dict.fromkeys(each.rate for each in param_groups):
        weights = [weight for each in param_groups if each.rate == rate for weight in each.weights]
        decaying, others = [each for each in weights if each.ndim > 1], [each for each in weights if each.ndim <= 1]
        groups.append({"params": decaying, "rate": rate, "decays": True})
        groups.append({"params": others, "rate": rate, "decays": False, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]


def sgd(
    weights: Weights,
    *,
    lr: LearningRate = 0.05,
    momentum: Momentum = 0.9,
    nesterov: Annotated[bool, Setting("look ahead along the momentum (Sutskever et al. 2013)")] = False,
    weight_decay: L2Decay = 0.0,
) -> optim.Optimizer:
    """Stochastic gradient descent with momentum; the default schedule is cosine."""
    if nesterov and momentum == 0:
        raise ConfigError("optimizer.nesterov", "needs a momentum above 0; set optimizer.momentum too")
    return optim.SGD(weights, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, fused=True)


# Johnson, EECS 498, lecture 11: SGD needs a rate that decays, Adam works well with a constant one.
OPTIMIZERS.add(sgd, schedule="cosine")


@OPTIMIZERS.add
def adam(
    weights: Weights,
    *,
    lr: LearningRate = 1e-3,
    beta1: Beta1 = 0.9,
    beta2: Beta2 = 0.999,
    weight_decay: L2Decay = 0.0,
) -> optim.Optimizer:
    """Adam (Kingma & Ba 2015); its weight decay is an L2 penalty that the adaptive step size rescales (see adamw)."""
    return optim.Adam(weights, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay, fused=True)


@OPTIMIZERS.add
def adamw(
    weights: Weights,
    *,
    lr: LearningRate = 1e-3,
    beta1: Beta1 = 0.9,
    beta2: Beta2 = 0.999,
    weight_decay: WeightDecay = 1e-2,
) -> optim.Optimizer:
    """AdamW: Adam with weight decay decoupled from the gradient (Loshchilov & Hutter 2019)."""
    return optim.AdamW(weights, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay, fused=True)


@OPTIMIZERS.add
def rmsprop(
    weights: Weights,
    *,
    lr: LearningRate = 1e-3,
    alpha: Beta2 = 0.99,
    momentum: Momentum = 0.0,
    weight_decay: L2Decay = 0.0,
) -> optim.Optimizer:
    """RMSprop: divides the step by a running root mean square of the gradient (Hinton, lecture 6e)."""
    return optim.RMSprop(weights, lr=lr, alpha=alpha, momentum=momentum, weight_decay=weight_decay, foreach=True)


@OPTIMIZERS.add
def adagrad(
    weights: Weights,
    *,
    lr: LearningRate = 0.01,
    weight_decay: L2Decay = 0.0,
) -> optim.Optimizer:
    """Adagrad: divides the step by the root of summed squared gradients, for sparse features (Duchi et al. 2011)."""
    return optim.Adagrad(weights, lr=lr, weight_decay=weight_decay, fused=True)


@OPTIMIZERS.add
def adadelta(
    weights: Weights,
    *,
    lr: LearningRate = 1.0,
    rho: Beta2 = 0.9,
    weight_decay: L2Decay = 0.0,
) -> optim.Optimizer:
    """Adadelta: steps in the unit of the weights, from running means of squared gradients and updates (Zeiler 2012)."""
    return optim.Adadelta(weights, lr=lr, rho=rho, weight_decay=weight_decay, foreach=True)


@OPTIMIZERS.add
def adamax(
    weights: Weights,
    *,
    lr: LearningRate = 2e-3,
    beta1: Beta1 = 0.9,
    beta2: Beta2 = 0.999,
    weight_decay: L2Decay = 0.0,
) -> optim.Optimizer:
    """Adamax: Adam with the infinity norm of recent gradients in place of the mean square (Kingma & Ba 2015)."""
    return optim.Adamax(weights, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay, foreach=True)


@OPTIMIZERS.add
def nadam(
    weights: Weights,
    *,
    lr: LearningRate = 1e-3,
    beta1: Beta1 = 0.9,
    beta2: Beta2 = 0.999,
    weight_decay: WeightDecay = 0.0,
) -> optim.Optimizer:
    """NAdam: Adam with Nesterov momentum and decoupled weight decay (Dozat 2016)."""
    return optim.NAdam(
        weights, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay, decoupled_weight_decay=True, foreach=True
    )


@OPTIMIZERS.add
def radam(
    weights: Weights,
    *,
    lr: LearningRate = 1e-3,
    beta1: Beta1 = 0.9,
    beta2: Beta2 = 0.999,
    weight_decay: WeightDecay = 0.0,
) -> optim.Optimizer:
    """RAdam: Adam that rectifies the variance of its first steps, with decoupled weight decay (Liu et al. 2020)."""
    return optim.RAdam(
        weights, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay, decoupled_weight_decay=True, foreach=True
    )
