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


def train_epoch(parts: Components, state: TrainState, poll: Callable[[], Verdict], save: Callable[[], None]) -> Verdict:
    """Train from the current state to the epoch's end, or until `poll` returns another verdict.

    Args:
        parts: the components of the training.
        state: the training state, which is updated in place.
        poll: asked before each optimizer step; any verdict but CONTINUE ends the epoch there.
        save: called after each step but the last; may save the state.

    Returns:
        CONTINUE at the epoch's end, else the verdict of `poll`.

    Raises:
        Diverged: the mean training loss is not finite; checked every 50 steps and at the end.
    """
    batches = epoch_batches(parts, state.epoch)
    horizon = len(batches) * parts.config.epochs
    last_finite = state.metrics.get("train/loss")
    parts.tuning.begin_epoch(state.epoch / parts.config.epochs)
    while state.batch < len(batches):
        if (verdict := poll()) is not Verdict.CONTINUE:
            return verdict
        # Evaluated at the middle of the step, so that neither the first nor the last step has a rate of 0.
        state.scale_rates(parts.schedule((state.step + 0.5) / horizon))
        _step(parts, state, batches[state.batch])
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


def epoch_batches(parts: Components, epoch: int) -> Sequence[Tensor]:
    """Return the example indices of each batch of an epoch, on the dataset's device.

    The order follows from the seed and the epoch, so a checkpoint needs only the position in it. If the last batch has
    a single example, it joins the one before, because a batch norm over one example is meaningless.
    """
    train = parts.dataset.train
    order = torch.randperm(len(train), generator=generator(parts.seed, f"order/{epoch}")).to(train.features.device)
    batches = list(torch.split(order, parts.config.batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1 < parts.config.batch_size:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _step(parts: Components, state: TrainState, batch: Tensor) -> None:
    """One optimizer step on one batch."""
    config, optimizer = parts.config, state.optimizer
    clear_gradients(optimizer.param_groups)
    for loss, number in _add_gradients(parts, state, batch):
        state.count_loss(loss, number)
    if config.l1 or config.clip_norm is not None or config.clip_value is not None:
        state.scaler.unscale_(optimizer)
        shape_gradients(optimizer.param_groups, l1=config.l1, clip_norm=config.clip_norm, clip_value=config.clip_value)
    state.scaler.step(optimizer)
    state.scaler.update()
    if state.average is not None:
        state.average.update_parameters(state.model)


def _add_gradients(parts: Components, state: TrainState, batch: Tensor) -> list[tuple[Tensor, int]]:
    """Sum the batch's gradient over `accumulate` pieces, and in a group over the ranks' shares.

    Returns:
        Mean losses, each with the number of examples that it is the mean of.
    """
    features, wanted = _examples(parts, parts.group.shard(batch))
    # The number is equal on every rank, because some models need all ranks to call them together.
    num_pieces = min(parts.config.accumulate, math.ceil(len(batch) / parts.group.size))
    losses: list[tuple[Tensor, int]] = []
    for piece, targets in _pieces(features, wanted, num_pieces):
        if not len(piece):
            if parts.calls_together:
                with parts.autocast:
                    torch.autograd.backward(parts.forward(piece).sum() * 0)
            continue
        loss = _loss(parts, piece, targets)
        share = len(piece) / len(batch)
        torch.autograd.backward(state.scaler.scale(loss if share == 1 else loss * share))
        losses.append((loss.detach(), len(piece)))
    if parts.group.size == 1:
        return losses
    everything = [weight for each in state.optimizer.param_groups for weight in each["params"]]
    learning = [weight for weight in everything if weight.requires_grad]
    mean = parts.group.sum_gradients(learning, [loss * (number / len(batch)) for loss, number in losses])
    return [(mean, len(batch))]


def _examples(parts: Components, chosen: Tensor) -> tuple[Tensor, Targets]:
    """Return the augmented features and targets; both are empty if the rank has no share of the batch."""
    features, targets = parts.dataset.batch(parts.dataset.train, chosen)
    return parts.augment(features, targets) if len(chosen) else (features, [(1.0, targets)])


def _pieces(features: Tensor, wanted: Targets, num: int) -> Sequence[tuple[Tensor, Targets]]:
    """Split a batch and its targets into `num` pieces; with too few examples some are empty."""
    if num == 1:
        return [(features, wanted)]
    targets = [[(share, each) for each in whole.tensor_split(num)] for share, whole in wanted]
    return [(piece, list(theirs)) for piece, *theirs in zip(features.tensor_split(num), *targets, strict=True)]


def _loss(parts: Components, features: Tensor, wanted: Targets) -> Tensor:
    """Return the mean loss of the examples; mixed targets are weighted by their shares."""
    with parts.autocast:
        outputs = parts.forward(features)
    outputs = outputs.float()
    losses: list[Tensor] = [parts.loss(outputs, targets) for _, targets in wanted]
    loss = losses[0]
    if len(losses) > 1:
        loss = torch.stack([share * each for (share, _), each in zip(wanted, losses, strict=True)]).sum()
    if isinstance(parts.loss, Distillation):
        with parts.autocast:
            answers = parts.loss.answers(features)
        loss = parts.loss.blend(loss, outputs, answers)
    return loss
