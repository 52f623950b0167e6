"""The training loop, from a configuration to a trained model: train an epoch, evaluate, report, checkpoint, obey.

It talks to its surroundings through the functions it is given and writes nothing but checkpoints.
"""

import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from worker.training.assembly import Parts, assemble, num_parameters
from worker.training.checkpoint import Cadence, Checkpointer, Manifest, load_checkpoint
from worker.training.compatibility import check_fit, find_device
from worker.training.config import TrainingConfig
from worker.training.data import DATA, Dataset, SplitName
from worker.training.epoch import epoch_batches, train_epoch
from worker.training.errors import ConfigError, Diverged
from worker.training.evaluate import confusion, evaluate
from worker.training.events import Ending, Monitor, OnReport, Report, TrainingResult, Verdict
from worker.training.forking import resume_or_fork
from worker.training.metrics import Metrics
from worker.training.seeding import own_stream
from worker.training.state import TrainState

Answers: TypeAlias = Callable[[tuple[SplitName, ...]], dict[str, float]]
"""Loss and metrics of the current weights on the splits named."""


def _continue(*_: object) -> Verdict:
    return Verdict.CONTINUE


def train(
    config: TrainingConfig,
    *,
    seed: int = 0,
    device: str = "cpu",
    monitor: Monitor | None = None,
    on_report: OnReport = _continue,
    poll: Callable[[], Verdict] = _continue,
    checkpoint_dir: Path | None = None,
    cadence: Cadence | None = None,
    on_checkpoint: Callable[[Manifest], None] | None = None,
    until_epoch: int | None = None,
    constraints: Mapping[str, Any] | None = None,
    on_data: Callable[[Dataset], None] | None = None,
    fork_at: int | None = None,
) -> TrainingResult:
    """Train `config` up to `until_epoch` (absolute; by default the whole horizon, `config.epochs`).

    After each epoch `on_report` gets the metrics and answers with a verdict; so does `poll` before each optimizer step:
    a stop takes effect at once, a pause after a checkpoint. A valid checkpoint in `checkpoint_dir` is continued, on the
    CPU bit for bit as if never interrupted (at an equal number of threads). Where the monitor keeps the best, its
    weights are restored before the final test. Checkpoints are saved after each epoch, or as rarely as `cadence` says
    and at a pause; `on_checkpoint` hears of each. `constraints` is `{"parameters": {"max": n}}`.
    `on_data` gets the dataset once it is loaded, before anything is trained on it. With `fork_at` the checkpoint may be
    of another configuration, at the end of that epoch: its weights are trained on as `config` says.

    Raises ConfigError for what can't be trained, Infeasible for a broken constraint, both before the first step;
    Diverged as soon as a loss is seen not to be finite.
    """
    end = config.epochs if until_epoch is None else min(until_epoch, config.epochs)
    if end < 1:
        raise ConfigError("until_epoch", f"must be >= 1, got {end}")
    place = find_device(device)
    if monitor is None and config.patience is not None:
        monitor = Monitor("val/loss", "minimize", keep="last")
    dataset = DATA.create(config.data.name, config.data.settings).to(place)
    if on_data is not None:
        on_data(dataset)
    check_fit(config, dataset, monitor)
    with own_stream(seed, place):
        parts, state = assemble(config, seed, dataset, constraints or {}, fork_at)
        answers = partial(
            evaluate, state.answering, parts.loss, Metrics(dataset, place, config.metrics), dataset,
            autocast=parts.autocast,
        )  # fmt: skip
        saved = None if checkpoint_dir is None else load_checkpoint(checkpoint_dir)
        if fork_at is not None:
            resume_or_fork(state, saved, fork_at, len(epoch_batches(parts, fork_at)))
        elif saved is not None:
            state.restore(saved)
        checkpointer = Checkpointer(checkpoint_dir, cadence, on_checkpoint)
        verdict = _train_until(
            end, parts, state, answers, checkpointer,
            monitor=monitor, on_report=on_report, poll=poll,
        )  # fmt: skip
        return _result(verdict, parts, state, answers)


def _train_until(
    end: int,
    parts: Parts,
    state: TrainState,
    answers: Answers,
    checkpointer: Checkpointer,
    *,
    monitor: Monitor | None,
    on_report: OnReport,
    poll: Callable[[], Verdict],
) -> Verdict:
    """The loop: epoch by epoch up to the epoch `end`, or until a verdict or early stopping ends it."""
    config, verdict = parts.config, Verdict.CONTINUE
    while state.epoch < end and verdict is Verdict.CONTINUE and not _is_out_of_patience(config, state):
        began = time.perf_counter()
        verdict = train_epoch(parts, state, poll, checkpointer)
        if verdict is not Verdict.CONTINUE:  # in the middle of the epoch
            state.seconds += time.perf_counter() - began
            if verdict is Verdict.PAUSE:
                checkpointer.offer(state.epoch, state.content, must=True, batch=state.batch)
            break
        values = {"train/loss": state.mean_loss(), **answers(("val", "test_val"))}
        _require_finite_losses(state, values)
        state.complete_epoch(values, monitor)
        if _ends_a_cycle(state.epoch, config):
            state.take_snapshot()
        state.seconds += time.perf_counter() - began
        verdict = on_report(Report(state.epoch, values))
        # After the report, so that no checkpoint is ever ahead of what was reported.
        pauses = state.epoch < config.epochs and (verdict is Verdict.PAUSE or state.epoch == end)
        checkpointer.offer(state.epoch, state.content, must=pauses)
    return verdict


def _result(verdict: Verdict, parts: Parts, state: TrainState, answers: Answers) -> TrainingResult:
    """How it ended; a training that is finished restores its best weights and meets the test split, once."""
    ending = Ending.PAUSED
    if verdict is Verdict.STOP:
        ending = Ending.STOPPED
    elif state.epoch == parts.config.epochs or _is_out_of_patience(parts.config, state):
        ending = Ending.FINISHED
    final: dict[str, float] = {}
    confusions: dict[str, list[list[int]]] = {}
    if ending is Ending.FINISHED:
        state.restore_best()
        final = answers(("test",))
        confusions = confusion(state.answering, parts.dataset, ("val", "test"), autocast=parts.autocast)
    size = float(num_parameters(state.model))
    return TrainingResult(
        ending=ending,
        step=state.epoch,
        metrics={**state.metrics, **final, "seconds": state.seconds, "num_parameters": size},
        best_step=state.best.step if state.best is not None and state.best.weights is not None else None,
        model=state.answering.eval(),
        confusion=confusions,
        snapshots=state.snapshots,
    )


def _is_out_of_patience(config: TrainingConfig, state: TrainState) -> bool:
    """Whether the monitored metric has not become better for so many epochs (early stopping, Prechelt 1998)."""
    if config.patience is None:
        return False
    best = state.best.step if state.best is not None else state.first_epoch
    return state.epoch - best >= config.patience


def _ends_a_cycle(epoch: int, config: TrainingConfig) -> bool:
    """Whether a further one of the horizon's `snapshots` equal parts is done (Huang et al. 2017)."""
    return epoch * config.snapshots // config.epochs > (epoch - 1) * config.snapshots // config.epochs


def _require_finite_losses(state: TrainState, values: Mapping[str, float]) -> None:
    for name, value in values.items():
        if name.endswith("/loss") and not math.isfinite(value):
            raise Diverged(state.epoch + 1, name, state.metrics.get(name))
