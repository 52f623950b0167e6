"""Preflights: makes the checks of a study around the grant's configuration, and returns their results."""

from __future__ import annotations

from pathlib import Path

from service.contract.attempt import Outcome
from service.contract.claim import Grant, PreflightOrder
from service.contract.preflight import PreflightResult
from service.contract.study import Budget
from worker.protocol import Start
from worker.training.preflight.runner import SHARE
from worker.trial.channel import Channel
from worker.trial.preflight.check_study import preflight_study

_LEAST_SECONDS = 10.0
_MOST_BASELINE_SECONDS = 60.0


def run(grant: Grant, order: PreflightOrder, start: Start, channel: Channel) -> Outcome:
    """Make the checks and return their results; raises what the task raises where none can be made."""
    seconds = _seconds(order.spec.budget)
    result = preflight_study(
        order.spec,
        centre=grant.parameters,
        seconds=seconds,
        baseline_seconds=min(seconds, _MOST_BASELINE_SECONDS),
        budget_epochs=order.budget_epochs,
        seed=grant.seed,
        device=start.device,
        teacher=None if start.teacher is None else Path(start.teacher),
        readable=None if start.readable is None else [Path(folder) for folder in start.readable],
        threads=start.threads,
        on_check=lambda _check: channel.send_progress(),
    )
    mapping = {name: value for name, value in result.to_mapping().items() if name != "status"}
    return Outcome(result="succeeded", preflight=PreflightResult.model_validate(mapping))


def _seconds(budget: Budget) -> float:
    """Return how long the checks may take by a study's budget of time; a budget of epochs may allow more."""
    hours = [hours for hours in (budget.hours, budget.device_hours) if hours is not None]
    return max(_LEAST_SECONDS, SHARE * 3600 * min(hours, default=0.0))
