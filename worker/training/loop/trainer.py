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
from worker.training.callbacks.callback_list import CallbackList
from worker.training.checkpoints.checkpoint import Checkpointer, SaveInterval, load_checkpoint
from worker.training.config import TrainingConfig
from worker.training.data import SplitName
from worker.training.distributed.group import process_group
from worker.training.errors import ConfigError, Diverged
from worker.training.events import Ending, Monitor, OnReport, Report, TrainingResult, Verdict
from worker.training.loop.cross_validation import Replicates, mean_and_spread
from worker.training.loop.hooks import TrainingHooks, continue_training
from worker.training.out_of_memory import building, evaluating, loading, out_of_memory_at, stepping
from worker.training.predictions import Predictions
from worker.training.seeding import forked_rng
from worker.training.validate import check_fit, find_device

_NO_HOOKS = TrainingHooks()


def train(
    config: TrainingConfig,
    *,
    seed: int = 0,
    device: str = "cpu",
    monitor: Monitor | None = None,
    on_report: OnReport = continue_training,
    hooks: TrainingHooks = _NO_HOOKS,
    checkpoint_dir: Path | None = None,
    save_interval: SaveInterval | None = None,
    until_epoch: int | None = None,
    constraints: Mapping[str, Any] | None = None,
    fork_at: int | None = None,
    teacher: Path | None = None,
    readable: Sequence[Path] | None = None,
) -> TrainingResult:
    """Train `config` until `until_epoch` and return the result.

    After each epoch `on_report` receives the metrics and returns a verdict; `hooks.poll` returns one before each
    optimizer step. A stop takes effect at once, a pause after a checkpoint. A valid checkpoint in `checkpoint_dir` is
    continued, on the CPU bit for bit as if the training had never been interrupted (with an equal number of threads).
    If the monitor keeps the best epoch, its weights are restored before the final evaluation on the test split.

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
        hooks: further functions and callbacks to call.
        checkpoint_dir: where checkpoints are saved and looked for; None: none are.
        save_interval: how often to save, in the middle of epochs too; None: after each epoch. A checkpoint is always
            saved at a pause, and at the end of a training that may be the best that the monitor knows.
        until_epoch: the epoch at which to pause, counted from the first epoch of the training; None: `config.epochs`.
        constraints: `{"parameters": {"max": n}}`; None: none.
        fork_at: the epoch at whose end another training's checkpoint was taken; its weights are trained on with the
            settings of `config`, which may differ. None: the training is not a fork.
        teacher: the file of the checkpoint that `loss.teacher` names, if that is not a path.
        readable: the folders that all paths of the configuration must lie in, after following links; None: no limit.

    Raises:
        ConfigError: the configuration can't be trained; raised before the first step.
        OutsideFolders: a path is not in a `readable` folder; raised before the first step.
        Infeasible: a constraint is broken; raised before the first step.
        Diverged: a loss is not finite; raised as soon as it is noticed.
        OutOfMemory: the memory of the device or the host does not suffice; the error names the setting and remedies.
        ProcessGroupError: another process of the group is gone.
    """
    end = config.epochs if until_epoch is None else min(until_epoch, config.epochs)
    if end < 1:
        raise ConfigError("until_epoch", f"must be >= 1, got {end}")
    if monitor is None and config.patience is not None:
        monitor = Monitor("val/loss", "minimize", keep="last")
    folders = AllowedFolders.of(readable)
    with process_group() as group, closing(callbacks_of(config, hooks.callbacks, group, folders)) as callbacks:
        torch_device = find_device(group.local_device(device))
        with out_of_memory_at(loading, config):
            datasets = load(config, torch_device, folders)
        if hooks.on_data is not None and group.is_first:
            hooks.on_data(datasets[0])
        for dataset in datasets:
            check_fit(config, dataset, monitor, group)
        with forked_rng(seed, torch_device):
            with out_of_memory_at(building, config):
                replicates = Replicates(
                    config,
                    seed,
                    datasets,
                    constraints or {},
                    fork_at,
                    monitor=monitor,
                    teacher=teacher,
                    group=group,
                    folders=folders,
                )
            callback_states: Mapping[str, Any] = {}
            saved = load_checkpoint(checkpoint_dir) if checkpoint_dir is not None and group.is_first else None
            if (saved := group.broadcast(saved)) is not None:
                if replicates.load_state_dict(saved):
                    callback_states = saved["callbacks"]
            elif fork_at is not None:
                raise ConfigError("fork_at", f"the checkpoint of epoch {fork_at} to fork from is missing")
            position = replicates.epoch, replicates.batch
            checkpointer = Checkpointer(checkpoint_dir, save_interval, hooks.on_checkpoint, position, group)
            callbacks.begin(replicates.callback_view, callback_states)
            verdict = _train_until(
                end,
                replicates,
                callbacks,
                checkpointer,
                on_report=group.on_rank_zero(on_report, list(Verdict)),
                poll=group.on_rank_zero(hooks.poll, list(Verdict)),
            )
            with out_of_memory_at(evaluating, config):
                result = _result(verdict, replicates)
            callbacks.end(result)
            return result


def _train_until(
    end: int,
    replicates: Replicates,
    callbacks: CallbackList,
    checkpointer: Checkpointer,
    *,
    on_report: OnReport,
    poll: Callable[[], Verdict],
) -> Verdict:
    """Train epoch by epoch up to epoch `end`, or until a verdict, a callback or early stopping ends the training."""
    config, verdict = replicates.config, Verdict.CONTINUE

    def content() -> dict[str, Any]:
        return {**replicates.state_dict(), "callbacks": callbacks.state_dict()}

    def save() -> None:
        checkpointer.maybe_save_mid_epoch(replicates.epoch, content, replicates.batch)

    while replicates.epoch < end and verdict is Verdict.CONTINUE and not replicates.reason_to_end:
        started = time.perf_counter()
        with out_of_memory_at(stepping, config, lambda: replicates.has_blocks):
            verdict = replicates.train_epoch(poll, save)
        if verdict is not Verdict.CONTINUE:  # stopped in the middle of the epoch
            replicates.seconds += time.perf_counter() - started
            if verdict is Verdict.PAUSE:
                checkpointer.maybe_save(replicates.epoch, content, force=True, batch=replicates.batch)
            break
        with out_of_memory_at(evaluating, config):
            values = replicates.measure()
        _require_finite_losses(replicates, values)
        replicates.complete_epoch(values, callbacks.measure(values[0]))
        if _ends_a_cycle(replicates.epoch, config):
            replicates.take_snapshot()
        replicates.seconds += time.perf_counter() - started
        report = Report(replicates.epoch, replicates.metrics)
        verdict = on_report(report)
        replicates.ended = callbacks.report(report)
        # The checkpoint follows the report, so that no checkpoint is ever ahead of what was reported.
        is_over = replicates.epoch == config.epochs or bool(replicates.reason_to_end)
        pauses = not is_over and (verdict is Verdict.PAUSE or replicates.epoch == end)
        may_be_best = is_over and replicates.best.may_beat_other_trainings(replicates.metrics)
        force = pauses or (may_be_best and verdict is not Verdict.STOP)
        checkpointer.maybe_save(replicates.epoch, content, force=force)
    return verdict


def _result(verdict: Verdict, replicates: Replicates) -> TrainingResult:
    """Return the result; a finished training restores its best weights and is evaluated on the test split, once."""
    ending = Ending.PAUSED
    if verdict is Verdict.STOP:
        ending = Ending.STOPPED
    elif replicates.epoch == replicates.config.epochs or replicates.reason_to_end:
        ending = Ending.FINISHED
    final: dict[str, float] = {}
    predictions: dict[SplitName, Predictions] = {}
    if ending is Ending.FINISHED:
        replicates.restore_best()
        final = mean_and_spread([replicate.evaluate("test") for replicate in replicates])
        if replicates.snapshots:
            final |= mean_and_spread([each.evaluate_snapshots("val", "test_val", "test") for each in replicates])
        predictions = replicates.predict("val", "test_val", "test")
    size = float(replicates.num_parameters)
    return TrainingResult(
        ending=ending,
        step=replicates.epoch,
        metrics={**replicates.metrics, **final, "seconds": replicates.seconds, "num_parameters": size},
        best_step=None if (best := replicates.best.restorable) is None else best.step,
        models=replicates.models,
        predictions=predictions,
        snapshots=replicates.snapshots,
        reason=replicates.reason_to_end if replicates.epoch < replicates.config.epochs else "",
    )


def _ends_a_cycle(epoch: int, config: TrainingConfig) -> bool:
    """Return whether `epoch` ends one of the `snapshots` equal parts of the horizon (Huang et al. 2017)."""
    return epoch * config.snapshots // config.epochs > (epoch - 1) * config.snapshots // config.epochs


def _require_finite_losses(replicates: Replicates, values: Sequence[Mapping[str, float]]) -> None:
    for name, value in mean_and_spread(values).items():
        if name.endswith("/loss") and not math.isfinite(value):
            raise Diverged(replicates.epoch + 1, name, replicates.metrics.get(name))
