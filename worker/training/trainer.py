"""The training loop, from a configuration to a trained model: train an epoch, evaluate, report, checkpoint, obey.

It talks to its surroundings through what it is given to call, and writes nothing but checkpoints.
"""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from worker.training.checkpoint import Cadence, Checkpointer, Manifest, load_checkpoint
from worker.training.compatibility import check_constraints, check_fit, find_device
from worker.training.config import TrainingConfig
from worker.training.data import DATA, Dataset
from worker.training.errors import ConfigError, Diverged
from worker.training.evaluate import confusion, evaluate
from worker.training.events import Ending, Monitor, OnReport, Report, TrainingResult, Verdict
from worker.training.losses import LOSSES
from worker.training.metrics import Metrics
from worker.training.models import MODELS
from worker.training.optimizers import OPTIMIZERS, shape_gradients, weight_groups
from worker.training.schedules import SCHEDULES, Plateau, Schedule
from worker.training.seeding import generator, own_stream
from worker.training.state import TrainState

# Reading a loss waits for the device, so divergence is looked for this rarely within an epoch.
_STEPS_BETWEEN_CHECKS = 50


def train(
    config: TrainingConfig,
    *,
    seed: int = 0,
    device: str = "cpu",
    monitor: Monitor | None = None,
    on_report: OnReport | None = None,
    checkpoint_dir: Path | None = None,
    cadence: Cadence | None = None,
    on_checkpoint: Callable[[Manifest], None] | None = None,
    until_epoch: int | None = None,
    constraints: Mapping[str, Any] | None = None,
    on_data: Callable[[Dataset], None] | None = None,
) -> TrainingResult:
    """Train `config` up to `until_epoch` (absolute; by default the whole horizon, `config.epochs`).

    After each epoch `on_report` gets the metrics and answers with a verdict. A valid checkpoint in `checkpoint_dir`
    is continued, on the CPU bit for bit as if never interrupted (at an equal number of threads). Where the monitor
    keeps the best, its weights are restored before the final test. Checkpoints are saved after each epoch, or as rarely
    as `cadence` says and at a pause; `on_checkpoint` hears of each. `constraints` is `{"parameters": {"max": n}}`.
    `on_data` gets the dataset once it is loaded, before anything is trained on it.

    Raises ConfigError for what can't be trained, Infeasible for a broken constraint, both before the first step;
    Diverged as soon as a loss is seen not to be finite.
    """
    end = config.epochs if until_epoch is None else min(until_epoch, config.epochs)
    if end < 1:
        raise ConfigError("until_epoch", f"must be >= 1, got {end}")
    place = find_device(device)
    dataset = DATA.create(config.data.name, config.data.settings).to(place)
    if on_data is not None:
        on_data(dataset)
    check_fit(config, dataset, monitor)
    with own_stream(seed, place):
        model = MODELS.create(config.model.name, config.model.settings, dataset)
        model = model.to(place)
        num_parameters = sum(weights.numel() for weights in model.parameters())
        check_constraints(constraints or {}, num_parameters)
        loss = LOSSES.create(config.loss.name, config.loss.settings, dataset).to(place)
        optimizer = OPTIMIZERS.create(config.optimizer.name, config.optimizer.settings, weight_groups(model))
        schedule = SCHEDULES.create(config.schedule.name, config.schedule.settings)
        plateau = schedule if isinstance(schedule, Plateau) else None
        metrics = Metrics(dataset, place, config.metrics)
        origin = {"seed": seed, **config.to_mapping()}
        state = TrainState(origin, place, model, optimizer, generator(seed, "order"), plateau)
        if checkpoint_dir is not None and (saved := load_checkpoint(checkpoint_dir)) is not None:
            state.restore(saved)

        checkpointer = Checkpointer(checkpoint_dir, cadence, on_checkpoint) if checkpoint_dir is not None else None
        verdict = Verdict.CONTINUE
        while state.epoch < end and verdict is Verdict.CONTINUE:
            began = time.perf_counter()
            values = {"train/loss": _train_epoch(state, config, dataset, loss, schedule)}
            values |= evaluate(model, loss, metrics, dataset, ("val", "test_val"))
            _require_finite_losses(state, values)
            state.complete_epoch(values, monitor)
            state.seconds += time.perf_counter() - began
            if on_report is not None:
                verdict = on_report(Report(state.epoch, values))
            # After the report, so that no checkpoint is ever ahead of what was reported.
            if checkpointer is not None:
                pauses = state.epoch < config.epochs and (verdict is Verdict.PAUSE or state.epoch == end)
                checkpointer.offer(state.epoch, state.snapshot, must=pauses)

        ending = Ending.FINISHED if state.epoch == config.epochs else Ending.PAUSED
        if verdict is Verdict.STOP:
            ending = Ending.STOPPED
        final: dict[str, float] = {}
        confusions: dict[str, list[list[int]]] = {}
        if ending is Ending.FINISHED:
            state.restore_best()
            final = evaluate(model, loss, metrics, dataset, ("test",))
            confusions = confusion(model, dataset, ("val", "test"))
    return TrainingResult(
        ending=ending,
        step=state.epoch,
        metrics={**state.metrics, **final, "seconds": state.seconds, "num_parameters": float(num_parameters)},
        best_step=state.best.step if state.best else None,
        model=model.eval(),
        confusion=confusions,
    )


def _train_epoch(
    state: TrainState, config: TrainingConfig, dataset: Dataset, loss: nn.Module, schedule: Schedule
) -> float:
    """One pass over the training examples in a fresh random order; the mean loss as seen on the way."""
    model, optimizer = state.model, state.optimizer
    train_split = dataset.train
    order = torch.randperm(len(train_split), generator=state.order).to(train_split.features.device)
    batches = torch.split(order, config.batch_size)
    horizon = len(batches) * config.epochs
    total = torch.zeros((), device=state.device)
    num_seen, mean, last_finite = 0, math.nan, state.metrics.get("train/loss")
    model.train()
    for index, batch in enumerate(batches, start=1):
        # The middle of the step's share of the horizon: neither the first nor the last step has a rate of 0.
        factor = schedule((state.step + 0.5) / horizon)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        features, targets = dataset.batch(train_split, batch)
        batch_loss = loss(model(features), targets)
        optimizer.zero_grad()
        batch_loss.backward()
        shape_gradients(optimizer.param_groups, l1=config.l1, clip_norm=config.clip_norm, clip_value=config.clip_value)
        optimizer.step()
        state.step += 1
        num_seen += len(batch)
        total += batch_loss.detach() * len(batch)
        if index % _STEPS_BETWEEN_CHECKS == 0 or index == len(batches):
            mean = total.item() / num_seen
            if not math.isfinite(mean):
                raise Diverged(state.epoch + 1, "train/loss", last_finite)
            last_finite = mean
    return mean


def _require_finite_losses(state: TrainState, values: Mapping[str, float]) -> None:
    for name, value in values.items():
        if name.endswith("/loss") and not math.isfinite(value):
            raise Diverged(state.epoch + 1, name, state.metrics.get(name))
