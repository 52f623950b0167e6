"""One pass over the training examples, optimizer step by optimizer step; can begin in its middle, and end there."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from worker.training.assembly import Parts
from worker.training.augment import Targets
from worker.training.distillation import Distillation
from worker.training.errors import Diverged
from worker.training.events import Verdict
from worker.training.optimizers import clear_gradients, shape_gradients
from worker.training.seeding import generator
from worker.training.state import TrainState

# Reading a loss waits for the device, so divergence is looked for this rarely within an epoch.
_STEPS_BETWEEN_CHECKS = 50


def train_epoch(parts: Parts, state: TrainState, poll: Callable[[], Verdict], save: Callable[[], None]) -> Verdict:
    """Train from where the state stands to the epoch's end, or until `poll` answers anything but CONTINUE.

    After each step `save` may save the state; every now and then the loss is looked at, Diverged where it isn't finite.
    """
    batches = epoch_batches(parts, state.epoch)
    horizon = len(batches) * parts.config.epochs
    last_finite = state.metrics.get("train/loss")
    parts.tuning.begin_epoch(state.epoch / parts.config.epochs)
    while state.batch < len(batches):
        if (verdict := poll()) is not Verdict.CONTINUE:
            return verdict
        # The middle of the step's share of the horizon: neither the first nor the last step has a rate of 0.
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


def epoch_batches(parts: Parts, epoch: int) -> Sequence[Tensor]:
    """Indices of each batch of an epoch: the order follows from seed and epoch, so its place is all there is to keep.

    A last batch of a single example joins the one before: a norm over one example says nothing.
    """
    train = parts.dataset.train
    order = torch.randperm(len(train), generator=generator(parts.seed, f"order/{epoch}")).to(train.features.device)
    batches = list(torch.split(order, parts.config.batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1 < parts.config.batch_size:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _step(parts: Parts, state: TrainState, batch: Tensor) -> None:
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


def _add_gradients(parts: Parts, state: TrainState, batch: Tensor) -> list[tuple[Tensor, int]]:
    """Sum the batch's gradient over as many pieces as the memory asks for, and in a group over the ranks' shares.

    Returns mean losses with the number of examples that each is the mean of.
    """
    features, wanted = _examples(parts, parts.group.share(batch))
    # The same number on every rank: some models need all ranks to call them together.
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


def _examples(parts: Parts, chosen: Tensor) -> tuple[Tensor, Targets]:
    """The features to train on and what they should give; none where a rank has no share of a batch."""
    features, targets = parts.dataset.batch(parts.dataset.train, chosen)
    return parts.augment(features, targets) if len(chosen) else (features, [(1.0, targets)])


def _pieces(features: Tensor, wanted: Targets, num: int) -> Sequence[tuple[Tensor, Targets]]:
    """A batch and what it should give, cut into `num` parts, of too few examples some of them empty."""
    if num == 1:
        return [(features, wanted)]
    targets = [[(share, each) for each in whole.tensor_split(num)] for share, whole in wanted]
    return [(piece, list(theirs)) for piece, *theirs in zip(features.tensor_split(num), *targets, strict=True)]


def _loss(parts: Parts, features: Tensor, wanted: Targets) -> Tensor:
    """The mean loss of examples; what mixing made of several targets counts by their shares."""
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
