"""The task kind `train`: turns a grant into a configuration of the training core, and the result into an outcome."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from service.contract.attempt import Outcome
from service.contract.base import Value
from service.contract.claim import Grant
from service.contract.report import to_wire
from service.contract.teacher import TEACHER, is_path
from worker.protocol import CheckpointSaved, Ended, Provenance, Start
from worker.training import (
    ConfigError,
    Ending,
    Monitor,
    Report,
    TrainingConfig,
    TrainingHooks,
    TrainingResult,
    Verdict,
    train,
)
from worker.training.allowed_folders import AllowedFolders
from worker.training.batch_size import is_auto, limited_by_data, with_default
from worker.training.checkpoints.checkpoint import Manifest, SaveInterval, import_checkpoint
from worker.training.components.metrics import metric_notes
from worker.training.data import Dataset
from worker.trial import predictions
from worker.trial.channel import CONTINUE, Channel
from worker.trial.provenance import environment
from worker.trial.ranks import launch
from worker.trial.tasks.searched_paths import searched_paths


def run(grant: Grant, start: Start, channel: Channel) -> Outcome:
    """Train from the grant's checkpoint to its step, or to the configuration's end; raises what the core raises."""
    readable = None if start.readable is None else [Path(folder) for folder in start.readable]
    config, directory = _configuration(grant, readable), Path(start.checkpoints)
    teacher = _teacher(config, start)
    if grant.resume is not None and start.resume is not None:
        import_checkpoint(directory, grant.resume.step, Path(start.resume), grant.resume.batch)
    order = CONTINUE
    class_names: tuple[str, ...] = ()

    def on_report(report: Report) -> Verdict:
        nonlocal order
        order = channel.report(report.step, report.metrics)
        return Verdict(order.action)

    def poll() -> Verdict:
        nonlocal order
        channel.send_progress()
        order = channel.newest_order()
        return Verdict(order.action)

    def on_checkpoint(manifest: Manifest) -> None:
        path = str(directory / manifest.file)
        channel.send_checkpoint(CheckpointSaved(manifest.step, path, manifest.sha256, manifest.size, manifest.batch))

    def on_data(dataset: Dataset) -> None:
        nonlocal class_names
        class_names = dataset.class_names
        sys.stdout.writelines(f"{line}\n" for line in _describe(dataset, config))
        channel.send_provenance(Provenance(dataset.fingerprint, environment(start.threads)))

    run_training = partial(
        _train,
        grant.parameters,
        config,
        seed=grant.seed,
        device=start.device,
        monitor=Monitor(**grant.monitor.model_dump()),
        on_report=on_report,
        hooks=TrainingHooks(poll=poll, on_data=on_data, on_checkpoint=on_checkpoint),
        checkpoint_dir=directory,
        save_interval=SaveInterval(start.checkpoint_seconds),
        until_epoch=grant.run_until,
        constraints=grant.constraints,
        fork_at=grant.fork_at,
        teacher=teacher,
        readable=readable,
    )
    if start.num_devices == 1:
        result = run_training()
    else:
        result = launch(
            start.num_devices,
            directory,
            run_training,
            lambda outcome: channel.send_outcome(Ended(outcome.model_dump(mode="json"))),
        )
    metrics = {name: to_wire(float(value)) for name, value in result.metrics.items()}
    if result.ending is Ending.STOPPED:
        return Outcome(result="pruned", message=order.reason, metrics=metrics)
    if result.ending is Ending.PAUSED:
        message = order.reason or f"trained to step {result.step}, its rung"
        return Outcome(result="paused", message=message, metrics=metrics)
    notes = result.reason, predictions.save_and_announce(channel, directory, result, class_names)
    return Outcome(
        result="succeeded",
        message="; ".join(note for note in notes if note),
        metrics=metrics,
        confusion=predictions.confusion(result, class_names),
    )


def _describe(dataset: Dataset, config: TrainingConfig) -> list[str]:
    """Return lines for the trial's log: how each column is used, and which metrics the data leaves undefined."""
    notes = metric_notes(dataset, config.metric_settings)
    return [f"data: {line}" for line in dataset.columns] + [f"metrics: {note}" for note in notes]


def _train(parameters: Mapping[str, Value], config: TrainingConfig, **settings: Any) -> TrainingResult:
    with searched_paths(parameters):
        return train(config, **settings)


def _configuration(grant: Grant, readable: Sequence[Path] | None) -> TrainingConfig:
    """Return the training configuration of a grant.

    If the grant ends at `run_until` without a pause, that is the configuration's last epoch: schedules end there, and
    the test split is evaluated.
    """
    if not isinstance(grant.task, dict):
        raise ConfigError("task.train", "must be a mapping of settings")
    config = TrainingConfig.from_mapping(with_default(grant.task))
    if is_auto(grant.task):  # no preflight has chosen a batch size for all trials
        config = limited_by_data(config, AllowedFolders.of(readable))
    if grant.run_until is None or grant.pauses:
        return config
    return replace(config, epochs=min(config.epochs, grant.run_until))


def _teacher(config: TrainingConfig, start: Start) -> Path | None:
    """Return the checkpoint of the trial that the loss names as its teacher; None if it names none."""
    name = config.loss.settings.get("teacher")
    if not isinstance(name, str) or is_path(name):
        return None
    if start.teacher is None:
        message = f"the checkpoint of {name} no longer exists; create a new study, which keeps its teacher"
        raise ConfigError(TEACHER, message)
    return Path(start.teacher)
