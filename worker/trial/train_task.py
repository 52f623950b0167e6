"""The task kind `train`: a grant becomes a configuration for the training core, its result an outcome."""

from __future__ import annotations

from service.contract.lease import Grant, Outcome
from service.contract.report import to_wire
from worker.training import ConfigError, Ending, Monitor, Report, TrainingConfig, Verdict, train
from worker.trial.channel import CONTINUE, Channel


def run(grant: Grant, device: str, channel: Channel) -> Outcome:
    """Train to the grant's step, or to the end of the configuration; raises what the core raises."""
    if not isinstance(grant.task, dict):
        raise ConfigError("task.train", "must be a mapping of settings")
    order = CONTINUE

    def on_report(report: Report) -> Verdict:
        nonlocal order
        order = channel.report(report.step, report.metrics)
        return Verdict(order.action)

    result = train(
        TrainingConfig.from_mapping(grant.task),
        seed=grant.seed,
        device=device,
        monitor=Monitor(grant.monitor.metric, grant.monitor.direction, grant.monitor.keep),
        on_report=on_report,
        until_epoch=grant.run_until,
        constraints=grant.constraints,
    )
    metrics = {name: to_wire(float(value)) for name, value in result.metrics.items()}
    if result.ending is Ending.STOPPED:
        return Outcome(result="pruned", message=order.reason, metrics=metrics)
    # Training to `run_until` is all the grant asked for, even where the configuration's horizon lies beyond it.
    if result.ending is Ending.PAUSED and order.action == Verdict.PAUSE:
        return Outcome(result="paused", message=order.reason, metrics=metrics)
    return Outcome(result="succeeded", metrics=metrics)
