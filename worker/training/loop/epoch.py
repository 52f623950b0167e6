"""Trains one epoch: optimizer steps over shuffled batches; can start and stop in the middle of the epoch."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from worker.training.build import Components
from worker.training.components.augment import Targets
from worker.training.components.distillation import Distillation
from worker.training.components.optimizers import clear_gradients, shape_gradients
from worker.training.errors import Diverged
from worker.training.events import Verdict
from worker.training.seeding import generator
from worker.training.state import TrainState

# Reading a loss waits for the device, so divergence is checked only this often within an epoch.
_STEPS_BETWEEN_CHECKS = 50


def train_epoch(
    components: Components, state: TrainState, poll: Callable[[], Verdict], save: Callable[[], None]
) -> Verdict:
    """Train from the current state to the epoch's end, or until `poll` returns another verdict.

    Args:
        components: the components of the training.
        state: the training state, which is updated in place.
        poll: asked before each optimizer step; any verdict but CONTINUE ends the epoch there.
        save: called after each step but the last; may save the state.

    Returns:
        CONTINUE at the epoch's end, else the verdict of `poll`.

    Raises:
        Diverged: the mean training loss is not finite; checked every 50 steps and at the end.
    """
    batches = epoch_batches(components, state.epoch)
    horizon = len(batches) * components.config.epochs
    last_finite = state.metrics.get("train/loss")
    components.trainable.begin_epoch(state.epoch / components.config.epochs)
    while state.batch < len(batches):
        if (verdict := poll()) is not Verdict.CONTINUE:
            return verdict
        # Evaluated at the middle of the step, so that neither the first nor the last step has a rate of 0.
        state.scale_rates(components.schedule((state.step + 0.5) / horizon))
        _step(components, state, batches[state.batch])
        state.step += 1
        state.batch += 1
        if state.batch % _STEPS_BETWEEN_CHECKS == 0 or state.batch == len(batches):
            mean = state.mean_loss()
            if not math.isfinite(mean):
                raise Diverged(state.epoch + 1, "train/loss", last_finite)
            last_finite = mean
        if state.batch < len(batches):
            save()
    return Verdict.CONTINUE


def epoch_batches(components: Components, epoch: int) -> Sequence[Tensor]:
    """Return the example indices of each batch of an epoch, on the dataset's device.

    The order follows from the seed and the epoch, so a checkpoint needs only the position in it. If the last batch has
    a single example, it joins the one before, because a batch norm over one example is meaningless.
    """
    train = components.dataset.train
    order = torch.randperm(len(train), generator=generator(components.seed, f"order/{epoch}")).to(train.features.device)
    batches = list(torch.split(order, components.config.batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1 < components.config.batch_size:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _step(components: Components, state: TrainState, batch: Tensor) -> None:
    """One optimizer step on one batch."""
    config, optimizer = components.config, state.optimizer
    clear_gradients(optimizer.param_groups)
    for loss, number in _add_gradients(components, state, batch):
        state.count_loss(loss, number)
    if config.l1 or config.clip_norm is not None or config.clip_value is not None:
        state.scaler.unscale_(optimizer)
        shape_gradients(optimizer.param_groups, l1=config.l1, clip_norm=config.clip_norm, clip_value=config.clip_value)
    state.scaler.step(optimizer)
    state.scaler.update()
    if state.average is not None:
        state.average.update_parameters(state.model)


def _add_gradients(components: Components, state: TrainState, batch: Tensor) -> list[tuple[Tensor, int]]:
    """Sum the batch's gradient over `grad_accumulation` pieces, and in a group over the ranks' shares.

    Returns:
        Mean losses, each with the number of examples that it is the mean of.
    """
    features, mixed_targets = _examples(components, components.group.shard(batch))
    # The number is equal on every rank, because some models need all ranks to call them together.
    num_pieces = min(components.config.grad_accumulation, math.ceil(len(batch) / components.group.size))
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
    if components.group.size == 1:
        return losses
    weights = [weight for group in state.optimizer.param_groups for weight in group["params"]]
    trainable = [weight for weight in weights if weight.requires_grad]
    mean = components.group.sum_gradients(
        trainable, [loss * (num_examples / len(batch)) for loss, num_examples in losses]
    )
    return [(mean, len(batch))]


def _examples(components: Components, indices: Tensor) -> tuple[Tensor, Targets]:
    """Return the augmented features and targets; both are empty if the rank has no share of the batch."""
    features, targets = components.dataset.batch(components.dataset.train, indices)
    return components.augment(features, targets) if len(indices) else (features, [(1.0, targets)])


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
        loss = torch.stack([share * each for (share, _), each in zip(mixed_targets, losses, strict=True)]).sum()
    if isinstance(components.loss, Distillation):
        with components.autocast:
            probabilities = components.loss.teacher_probabilities(features)
        loss = components.loss.blend(loss, outputs, probabilities)
    return loss
