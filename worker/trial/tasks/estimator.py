"""The task kind `estimator`: fits an ensemble of scikit-learn of this package; needs no code of the user's own."""

from __future__ import annotations

import sys
from pathlib import Path

from service.contract.attempt import Outcome
from service.contract.claim import Grant
from service.contract.report import to_wire
from worker.protocol import Provenance, Start
from worker.training import ConfigError, Monitor, Report, Verdict
from worker.training.components.metrics import metric_notes
from worker.training.data import Dataset
from worker.training.estimators.config import EstimatorConfig
from worker.training.estimators.training import train_estimator
from worker.trial import predictions
from worker.trial.channel import Channel
from worker.trial.outcome import outcome_of_return
from worker.trial.provenance import environment
from worker.trial.tasks.searched_paths import searched_paths
from worker.trial.trial import Trial, TrialInfo


def run(grant: Grant, start: Start, channel: Channel) -> Outcome:
    """Fit the estimator of a grant, with a report after each block; raises what the core raises."""
    if not isinstance(grant.task, dict):
        raise ConfigError("task.estimator", "must be a mapping of settings")
    config = EstimatorConfig.from_mapping(grant.task)
    trial = Trial(TrialInfo.of(grant, start), channel)
    class_names: tuple[str, ...] = ()

    def on_data(dataset: Dataset) -> None:
        nonlocal class_names
        class_names = dataset.class_names
        notes = metric_notes(dataset, config.metric_settings)
        lines = [f"data: {line}" for line in dataset.columns] + [f"metrics: {note}" for note in notes]
        sys.stdout.writelines(f"{line}\n" for line in lines)
        channel.send_provenance(Provenance(dataset.fingerprint, environment(start.threads)))

    def on_report(report: Report) -> Verdict:
        return Verdict(trial.report(report.step, report.metrics).action)

    with searched_paths(grant.parameters):
        result = train_estimator(
            config,
            seed=grant.seed,
            monitor=Monitor(**grant.monitor.model_dump()),
            on_report=on_report,
            on_data=on_data,
            until_step=grant.run_until,
            readable=None if start.readable is None else [Path(folder) for folder in start.readable],
        )
    outcome = outcome_of_return(trial, {})
    metrics = {name: to_wire(float(value)) for name, value in result.metrics.items()}
    if outcome.result != "succeeded":
        return outcome.model_copy(update={"metrics": metrics})
    note = predictions.save_and_announce(channel, Path(start.checkpoints), result, class_names)
    confusion = predictions.confusion(result, class_names)
    return Outcome(result="succeeded", message=note, metrics=metrics, confusion=confusion)
