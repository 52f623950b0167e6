"""One optimizer step: the gradient of a batch's loss, its clipping, and the update of the weights."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn, optim

from worker.training.build import Components
from worker.training.components.augment import Targets
from worker.training.components.distillation import Distillation
from worker.training.components.optimizers import Weights
from worker.training.state import TrainState


def optimizer_step(components: Components, state: TrainState, batch: Tensor, rate_factor: float) -> None:
    """Train on one batch, and add its loss to the epoch's sum.

    Args:
        components: the components of the training.
        state: the training state; its model, optimizer, scaler, average and loss sum are updated in place.
        batch: the indices of the training examples, [n].
        rate_factor: the schedule's factor of every base learning rate.
    """
    config, optimizer = components.config, state.optimizer
    set_learning_rates(optimizer, rate_factor)
    # `Optimizer.zero_grad` does more, for profilers and compilers, which costs 5 % of the step of a small model.
    for group in optimizer.param_groups:
        for weight in group["params"]:
            weight.grad = None
    for loss, num_examples in _add_gradients(components, state, batch):
        state.loss_sum.add_(loss, alpha=num_examples)
        state.num_counted += num_examples
    if config.l1 or config.clip_norm is not None or config.clip_value is not None:
        state.scaler.unscale_(optimizer)
        shape_gradients(optimizer.param_groups, l1=config.l1, clip_norm=config.clip_norm, clip_value=config.clip_value)
    state.scaler.step(optimizer)
    state.scaler.update()
    if state.average is not None:
        state.average.update_parameters(state.model)


def set_learning_rates(optimizer: optim.Optimizer, factor: float) -> None:
    """Set every learning rate to `factor` times its base."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor


def _add_gradients(components: Components, state: TrainState, batch: Tensor) -> list[tuple[Tensor, int]]:
    """Sum the batch's gradient over `grad_accumulation` pieces, and in a group over the ranks' shares.

    Returns:
        Mean losses, each with the number of examples that it is the mean of.
    """
    group = components.group
    indices = group.shard(batch)
    features, raw_targets = components.dataset.batch(components.dataset.train, indices)
    mixed_targets: Targets = [(1.0, raw_targets)]
    if len(indices):  # a rank may have no share of a small batch
        features, mixed_targets = components.augment(features, raw_targets)
    # The number is equal on every rank, because some models need all ranks to call them together.
    num_pieces = min(components.config.grad_accumulation, math.ceil(len(batch) / group.size))
    losses: list[tuple[Tensor, int]] = []
    for piece, targets in _pieces(features, mixed_targets, num_pieces):
        if not len(piece):
            if components.needs_all_ranks:
                with components.autocast:
                    torch.autograd.backward(components.forward(piece).sum() * 0)
            continue
        loss = _loss(components, piece, targets)
        share = len(piece) / len(batch)
        torch.autograd.backward(state.scaler.scale(loss if share == 1 else loss * share))
        losses.append((loss.detach(), len(piece)))
    if group.size == 1:
        return losses
    weights = [weight for each in state.optimizer.param_groups for weight in each["params"] if weight.requires_grad]
    mean = group.sum_gradients(weights, [loss * (num_examples / len(batch)) for loss, num_examples in losses])
    return [(mean, len(batch))]


def _pieces(features: Tensor, mixed_targets: Targets, num: int) -> Sequence[tuple[Tensor, Targets]]:
    """Split a batch and its targets into `num` pieces; with too few examples some are empty."""
    if num == 1:
        return [(features, mixed_targets)]
    targets = [[(share, piece) for piece in whole.tensor_split(num)] for share, whole in mixed_targets]
    return [(piece, list(of_piece)) for piece, *of_piece in zip(features.tensor_split(num), *targets, strict=True)]


def _loss(components: Components, features: Tensor, mixed_targets: Targets) -> Tensor:
    """Return the mean loss of the examples; mixed targets are weighted by their shares."""
    with components.autocast:
        outputs = components.forward(features)
    outputs = outputs.float()
    losses: list[Tensor] = [components.loss(outputs, targets) for _, targets in mixed_targets]
    loss = losses[0]
    if len(losses) > 1:
        loss = torch.stack([share * part for (share, _), part in zip(mixed_targets, losses, strict=True)]).sum()
    if isinstance(components.loss, Distillation):
        with components.autocast:
            probabilities = components.loss.teacher_probabilities(features)
        loss = components.loss.blend(loss, outputs, probabilities)
    return loss


def shape_gradients(weights: Weights, *, l1: float, clip_norm: float | None, clip_value: float | None) -> None:
    """Add the L1 penalty's gradient to the decaying weights, then clip all gradients by value and then by norm.

    Args:
        weights: the parameter groups of `weight_groups`.
        l1: the penalty's factor, at least 0.
        clip_norm: the largest L2 norm over all gradients; None: no limit.
        clip_value: the largest magnitude of each gradient; None: no limit.
    """
    if l1:
        for weight in (each for group in weights if group["decays"] for each in group["params"]):
            if weight.grad is not None:
                weight.grad.add_(weight.detach().sign(), alpha=l1)
    all_weights = [weight for group in weights for weight in group["params"]]
    if clip_value is not None:
        nn.utils.clip_grad_value_(all_weights, clip_value)
    if clip_norm is not None:
        nn.utils.clip_grad_norm_(all_weights, clip_norm)
