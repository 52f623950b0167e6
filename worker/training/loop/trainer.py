"""The training loop: trains an epoch, evaluates, reports, saves a checkpoint, and follows the verdict.

The loop communicates only through the functions that the caller passes, and writes nothing but checkpoints.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from worker.training.allowed_folders import AllowedFolders
from worker.training.build import callbacks_of, load
from worker.training.callbacks import Callback
from worker.training.callbacks.callback_list import CallbackList
from worker.training.checkpoints.checkpoint import Checkpointer, Manifest, SaveInterval, load_checkpoint
from worker.training.config import TrainingConfig
from worker.training.data import Dataset, SplitName
from worker.training.distributed.group import process_group
from worker.training.errors import ConfigError, Diverged
from worker.training.events import Ending, Monitor, OnReport, Report, TrainingResult, Verdict
from worker.training.loop.cross_validation import Replicates, mean_and_spread
from worker.training.predictions import Predictions
from worker.training.seeding import forked_rng
from worker.training.validate import check_fit, find_device


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
    cadence: SaveInterval | None = None,
    on_checkpoint: Callable[[Manifest], None] | None = None,
    until_epoch: int | None = None,
    constraints: Mapping[str, Any] | None = None,
    on_data: Callable[[Dataset], None] | None = None,
    fork_at: int | None = None,
    teacher: Path | None = None,
    callbacks: Sequence[Callback] = (),
    readable: Sequence[Path] | None = None,
) -> TrainingResult:
    """Train `config` until `until_epoch` and return the result.

    After each epoch `on_report` receives the metrics and returns a verdict; `poll` returns one before each optimizer
    step. A stop takes effect at once, a pause after a checkpoint. A valid checkpoint in `checkpoint_dir` is continued,
    on the CPU bit for bit as if the training had never been interrupted (with an equal number of threads). If the
    monitor keeps the best epoch, its weights are restored before the final evaluation on the test split.

    When called in each process of a `torch.distributed` group, as torchrun starts them, all processes train one model.
    Each computes its share of every batch, on its own GPU if `device` is cuda, and all return the same result. Only the
    first process calls the functions and callbacks and writes the checkpoints; its callbacks may read but must not
    change anything. A checkpoint written by another number of processes can be continued.

    Args:
        config: what to train.
        seed: the seed of all random streams of the training.
        device: cpu, cuda, or one GPU, such as cuda:1.
        monitor: which metric decides on the best epoch; None: none, or `val/loss` if `config.patience` is set.
        on_report: called with each epoch's metrics; returns a verdict.
        poll: called before each optimizer step; returns a verdict.
        checkpoint_dir: where checkpoints are saved and looked for; None: none are.
        cadence: how often to save, in the middle of epochs too; None: after each epoch. A checkpoint is always saved at
            a pause, and at the end of a training that may be the best that the monitor knows.
        on_checkpoint: called with the manifest of each checkpoint saved.
        until_epoch: the epoch at which to pause, counted from the first epoch of the training; None: `config.epochs`.
        constraints: `{"parameters": {"max": n}}`; None: none.
        on_data: called with the dataset (of the first fold) once it is loaded, before training.
        fork_at: the epoch at whose end another training's checkpoint was taken; its weights are trained on with the
            settings of `config`, which may differ. None: the training is not a fork.
        teacher: the file of the checkpoint that `loss.teacher` names, if that is not a path.
        callbacks: called beside those that the configuration names. Their exceptions are raised here, and each may end
            the training.
        readable: the folders that all paths of the configuration must lie in, after following links; None: no limit.

    Raises:
        ConfigError: the configuration can't be trained; raised before the first step.
        OutsideFolders: a path is not in a `readable` folder; raised before the first step.
        Infeasible: a constraint is broken; raised before the first step.
        Diverged: a loss is not finite; raised as soon as it is noticed.
        ProcessGroupError: another process of the group is gone.
    """
    end = config.epochs if until_epoch is None else min(until_epoch, config.epochs)
    if end < 1:
        raise ConfigError("until_epoch", f"must be >= 1, got {end}")
    if monitor is None and config.patience is not None:
        monitor = Monitor("val/loss", "minimize", keep="last")
    folders = AllowedFolders.of(readable)
    with process_group() as group, closing(callbacks_of(config, callbacks, group, folders)) as callback_list:
        torch_device = find_device(group.local_device(device))
        datasets = load(config, torch_device, folders)
        if on_data is not None and group.is_first:
            on_data(datasets[0])
        for dataset in datasets:
            check_fit(config, dataset, monitor, group)
        with forked_rng(seed, torch_device):
            replicates = Replicates(
                config, seed, datasets, constraints or {}, fork_at, teacher=teacher, group=group, folders=folders
            )
            states: Mapping[str, Any] = {}
            saved = load_checkpoint(checkpoint_dir) if checkpoint_dir is not None and group.is_first else None
            if (saved := group.broadcast(saved)) is not None:
                if replicates.load_state_dict(saved):
                    states = saved["callbacks"]
            elif fork_at is not None:
                raise ConfigError("fork_at", f"the checkpoint of epoch {fork_at} to fork from is missing")
            start_position = replicates.epoch, replicates.batch
            checkpointer = Checkpointer(checkpoint_dir, cadence, on_checkpoint, start_position, group)
            callback_list.begin(replicates.seen, states)
            on_report, poll = group.on_rank_zero(on_report, list(Verdict)), group.on_rank_zero(poll, list(Verdict))
            verdict = _train_until(
                end, replicates, callback_list, checkpointer, monitor=monitor, on_report=on_report, poll=poll
            )
            result = _result(verdict, replicates)
            callback_list.end(result)
            return result


def _train_until(
    end: int,
    replicates: Replicates,
    callbacks: CallbackList,
    checkpointer: Checkpointer,
    *,
    monitor: Monitor | None,
    on_report: OnReport,
    poll: Callable[[], Verdict],
) -> Verdict:
    """Train epoch by epoch up to epoch `end`, or until a verdict, a callback or early stopping ends the training."""
    config, verdict = replicates.config, Verdict.CONTINUE

    def content() -> dict[str, Any]:
        return {**replicates.state_dict(), "callbacks": callbacks.state_dict()}

    def save() -> None:
        checkpointer.maybe_save_mid_epoch(replicates.epoch, content, replicates.batch)

    while replicates.epoch < end and verdict is Verdict.CONTINUE and not _reason_to_end(replicates):
        began = time.perf_counter()
        verdict = replicates.train_epoch(poll, save)
        if verdict is not Verdict.CONTINUE:  # stopped in the middle of the epoch
            replicates.seconds += time.perf_counter() - began
            if verdict is Verdict.PAUSE:
                checkpointer.maybe_save(replicates.epoch, content, force=True, batch=replicates.batch)
            break
        values = replicates.measure()
        _require_finite_losses(replicates, values)
        replicates.complete_epoch(values, callbacks.measure(values[0]), monitor)
        if _ends_a_cycle(replicates.epoch, config):
            replicates.take_snapshot()
        replicates.seconds += time.perf_counter() - began
        report = Report(replicates.epoch, replicates.metrics)
        verdict = on_report(report)
        replicates.ended = callbacks.report(report)
        # The checkpoint follows the report, so that no checkpoint is ever ahead of what was reported.
        is_over = replicates.epoch == config.epochs or bool(_reason_to_end(replicates))
        pauses = not is_over and (verdict is Verdict.PAUSE or replicates.epoch == end)
        force = pauses or (is_over and verdict is not Verdict.STOP and _may_be_best(replicates, monitor))
        checkpointer.maybe_save(replicates.epoch, content, force=force)
    return verdict


def _result(verdict: Verdict, replicates: Replicates) -> TrainingResult:
    """Return the result; a finished training restores its best weights and is evaluated on the test split, once."""
    ending = Ending.PAUSED
    if verdict is Verdict.STOP:
        ending = Ending.STOPPED
    elif replicates.epoch == replicates.config.epochs or _reason_to_end(replicates):
        ending = Ending.FINISHED
    final: dict[str, float] = {}
    predictions: dict[SplitName, Predictions] = {}
    if ending is Ending.FINISHED:
        replicates.restore_best()
        final = mean_and_spread(replicates.evaluate("test"))
        if replicates.snapshots:
            final |= mean_and_spread(replicates.evaluate_snapshots("val", "test_val", "test"))
        predictions = replicates.predict("val", "test_val", "test")
    size = float(max(replicate.components.trainable.num_parameters for replicate in replicates.each))
    return TrainingResult(
        ending=ending,
        step=replicates.epoch,
        metrics={**replicates.metrics, **final, "seconds": replicates.seconds, "num_parameters": size},
        best_step=replicates.best.step if replicates.best is not None and replicates.best.weights is not None else None,
        models=replicates.models,
        predictions=predictions,
        snapshots=replicates.snapshots,
        reason=_reason_to_end(replicates) if replicates.epoch < replicates.config.epochs else "",
    )


def _may_be_best(replicates: Replicates, monitor: Monitor | None) -> bool:
    """Return whether this training may be better than the best of other trainings; True if that is unknown."""
    if monitor is None or monitor.best is None:
        return True
    metrics = replicates.best.metrics if monitor.keep == "best" and replicates.best is not None else replicates.metrics
    return monitor.is_better(metrics[monitor.metric], monitor.best)


def _reason_to_end(replicates: Replicates) -> str:
    """Return a callback's reason to end, or that of early stopping (Prechelt 1998); an empty text: train on."""
    patience = replicates.config.patience
    if replicates.ended or patience is None:
        return replicates.ended
    best = replicates.best.step if replicates.best is not None else replicates.first_epoch
    return f"no better for {patience} epochs" if replicates.epoch - best >= patience else ""


def _ends_a_cycle(epoch: int, config: TrainingConfig) -> bool:
    """Return whether `epoch` ends one of the `snapshots` equal parts of the horizon (Huang et al. 2017)."""
    return epoch * config.snapshots // config.epochs > (epoch - 1) * config.snapshots // config.epochs


def _require_finite_losses(replicates: Replicates, each: Sequence[Mapping[str, float]]) -> None:
    for name, value in mean_and_spread(each).items():
        if name.endswith("/loss") and not math.isfinite(value):
            raise Diverged(replicates.epoch + 1, name, replicates.metrics.get(name))
