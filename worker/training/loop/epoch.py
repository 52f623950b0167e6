"""Trains one epoch: optimizer steps over shuffled batches; can start and stop in the middle of the epoch.

`loop/step.py` computes a step; this module decides which batch it takes, at which learning rate, and when to stop.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from worker.training.build import Components
from worker.training.errors import Diverged
from worker.training.events import Verdict
from worker.training.loop.step import optimizer_step
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
        rate_factor = components.schedule((state.step + 0.5) / horizon)
        optimizer_step(components, state, batches[state.batch], rate_factor)
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
