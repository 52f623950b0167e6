"""The training loop, from a configuration to a trained model: train an epoch, evaluate, report, checkpoint, obey.

It talks to its surroundings through the functions it is given and writes nothing but checkpoints.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from worker.training.allowed_folders import AllowedFolders
from worker.training.assembly import callbacks_of, load
from worker.training.callbacks import Callback
from worker.training.callbacks.several import Callbacks
from worker.training.checkpoint import Cadence, Checkpointer, Manifest, load_checkpoint
from worker.training.compatibility import check_fit, find_device
from worker.training.config import TrainingConfig
from worker.training.data import Dataset, SplitName
from worker.training.errors import ConfigError, Diverged
from worker.training.events import Ending, Monitor, OnReport, Report, TrainingResult, Verdict
from worker.training.members import Members, mean_and_spread
from worker.training.parallel import joined
from worker.training.predictions import Predictions
from worker.training.seeding import own_stream


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
    teacher: Path | None = None,
    callbacks: Sequence[Callback] = (),
    readable: Sequence[Path] | None = None,
) -> TrainingResult:
    """Train `config` up to `until_epoch` (absolute; by default the whole horizon, `config.epochs`).

    After each epoch `on_report` gets the metrics and answers with a verdict; so does `poll` before each optimizer step:
    a stop takes effect at once, a pause after a checkpoint. A valid checkpoint in `checkpoint_dir` is continued, on the
    CPU bit for bit as if never interrupted (at an equal number of threads). Where the monitor keeps the best, its
    weights are restored before the final test. Checkpoints are saved after each epoch, or as `cadence` says, in the
    middle of epochs too, at a pause and at the end of what may be the monitor's best; `on_checkpoint` hears of each.
    `constraints` is `{"parameters": {"max": n}}`. `on_data` gets the dataset once it is loaded, before anything is
    trained on it. With `fork_at` the checkpoint may be of another configuration, at the end of that epoch: its weights
    are trained on as `config` says. `teacher` is the file of the checkpoint that `loss.teacher` names, where that is no
    path. `callbacks` look on beside those that the configuration names; what they raise is raised here, and one of them
    may end training. `readable` are the folders below which all paths of the configuration must lie, whatever links
    they follow; None: anywhere.

    Called in each process of a `torch.distributed` group, as torchrun starts them, all train one model: each computes
    its share of every batch, on its own GPU where `device` is cuda, and all return the same. Functions and callbacks
    are called in the first process alone, which also writes the checkpoints; its callbacks may look, but change
    nothing. A checkpoint of another number of processes is continued, too.

    Raises ConfigError for what can't be trained, OutsideFolders for a path that is not `readable`, Infeasible for a
    broken constraint, all before the first step; Diverged as soon as a loss is seen not to be finite; GroupBroken where
    another process of the group is gone.
    """
    end = config.epochs if until_epoch is None else min(until_epoch, config.epochs)
    if end < 1:
        raise ConfigError("until_epoch", f"must be >= 1, got {end}")
    if monitor is None and config.patience is not None:
        monitor = Monitor("val/loss", "minimize", keep="last")
    folders = AllowedFolders.of(readable)
    with joined() as group, closing(callbacks_of(config, callbacks, group, folders)) as called:
        place = find_device(group.place(device))
        datasets = load(config, place, folders)
        if on_data is not None and group.is_first:
            on_data(datasets[0])
        for dataset in datasets:
            check_fit(config, dataset, monitor, group)
        with own_stream(seed, place):
            members = Members(
                config, seed, datasets, constraints or {}, fork_at, teacher=teacher, group=group, folders=folders
            )
            states: Mapping[str, Any] = {}
            saved = load_checkpoint(checkpoint_dir) if checkpoint_dir is not None and group.is_first else None
            if (saved := group.told(saved)) is not None:
                if members.restore(saved):
                    states = saved["callbacks"]
            elif fork_at is not None:
                raise ConfigError("fork_at", f"the checkpoint of epoch {fork_at} to fork from is gone")
            begun_at = members.epoch, members.batch
            checkpointer = Checkpointer(checkpoint_dir, cadence, on_checkpoint, begun_at, group)
            called.begin(members.seen, states)
            on_report, poll = group.by_first(on_report, list(Verdict)), group.by_first(poll, list(Verdict))
            verdict = _train_until(end, members, called, checkpointer, monitor=monitor, on_report=on_report, poll=poll)
            result = _result(verdict, members)
            called.end(result)
            return result


def _train_until(
    end: int,
    members: Members,
    callbacks: Callbacks,
    checkpointer: Checkpointer,
    *,
    monitor: Monitor | None,
    on_report: OnReport,
    poll: Callable[[], Verdict],
) -> Verdict:
    """The loop: epoch by epoch up to the epoch `end`, or until a verdict, a callback or early stopping ends it."""
    config, verdict = members.config, Verdict.CONTINUE

    def content() -> dict[str, Any]:
        return {**members.content(), "callbacks": callbacks.content()}

    def save() -> None:
        checkpointer.offer_within(members.epoch, content, members.batch)

    while members.epoch < end and verdict is Verdict.CONTINUE and not _reason_to_end(members):
        began = time.perf_counter()
        verdict = members.train_epoch(poll, save)
        if verdict is not Verdict.CONTINUE:  # in the middle of the epoch
            members.seconds += time.perf_counter() - began
            if verdict is Verdict.PAUSE:
                checkpointer.offer(members.epoch, content, must=True, batch=members.batch)
            break
        values = members.measure()
        _require_finite_losses(members, values)
        members.complete_epoch(values, callbacks.measure(values[0]), monitor)
        if _ends_a_cycle(members.epoch, config):
            members.take_snapshot()
        members.seconds += time.perf_counter() - began
        report = Report(members.epoch, members.metrics)
        verdict = on_report(report)
        members.ended = callbacks.report(report)
        # After the report, so that no checkpoint is ever ahead of what was reported.
        is_over = members.epoch == config.epochs or bool(_reason_to_end(members))
        pauses = not is_over and (verdict is Verdict.PAUSE or members.epoch == end)
        must = pauses or (is_over and verdict is not Verdict.STOP and _may_be_best(members, monitor))
        checkpointer.offer(members.epoch, content, must=must)
    return verdict


def _result(verdict: Verdict, members: Members) -> TrainingResult:
    """How it ended; a training that is finished restores its best weights and meets the test split, once."""
    ending = Ending.PAUSED
    if verdict is Verdict.STOP:
        ending = Ending.STOPPED
    elif members.epoch == members.config.epochs or _reason_to_end(members):
        ending = Ending.FINISHED
    final: dict[str, float] = {}
    predictions: dict[SplitName, Predictions] = {}
    if ending is Ending.FINISHED:
        members.restore_best()
        final = mean_and_spread(members.evaluate("test"))
        if members.snapshots:
            final |= mean_and_spread(members.evaluate_snapshots("val", "test_val", "test"))
        predictions = members.predict("val", "test_val", "test")
    size = float(max(member.parts.tuning.num_parameters for member in members.each))
    return TrainingResult(
        ending=ending,
        step=members.epoch,
        metrics={**members.metrics, **final, "seconds": members.seconds, "num_parameters": size},
        best_step=members.best.step if members.best is not None and members.best.weights is not None else None,
        models=members.models,
        predictions=predictions,
        snapshots=members.snapshots,
        reason=_reason_to_end(members) if members.epoch < members.config.epochs else "",
    )


def _may_be_best(members: Members, monitor: Monitor | None) -> bool:
    """Whether no other training is known to have reached as much."""
    if monitor is None or monitor.best is None:
        return True
    metrics = members.best.metrics if monitor.keep == "best" and members.best is not None else members.metrics
    return monitor.is_better(metrics[monitor.metric], monitor.best)


def _reason_to_end(members: Members) -> str:
    """Why to train no further: a callback said so, or early stopping (Prechelt 1998); nothing where there is none."""
    patience = members.config.patience
    if members.ended or patience is None:
        return members.ended
    best = members.best.step if members.best is not None else members.first_epoch
    return f"no better for {patience} epochs" if members.epoch - best >= patience else ""


def _ends_a_cycle(epoch: int, config: TrainingConfig) -> bool:
    """Whether a further one of the horizon's `snapshots` equal parts is done (Huang et al. 2017)."""
    return epoch * config.snapshots // config.epochs > (epoch - 1) * config.snapshots // config.epochs


def _require_finite_losses(members: Members, each: Sequence[Mapping[str, float]]) -> None:
    for name, value in mean_and_spread(each).items():
        if name.endswith("/loss") and not math.isfinite(value):
            raise Diverged(members.epoch + 1, name, members.metrics.get(name))
