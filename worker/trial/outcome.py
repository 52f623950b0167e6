"""Outcomes of custom tasks that ended without an error: finished, pruned or paused."""

from __future__ import annotations

import math
from collections.abc import Mapping

from service.contract.attempt import FailureClass, Outcome
from service.contract.report import to_wire
from worker.trial.trial import Trial


def conclude(trial: Trial, metrics: Mapping[str, float]) -> Outcome:
    """Return the outcome of a task that returned, according to the last order that its code received.

    A task whose objective ended as NaN or infinite has diverged, whatever the order.

    Args:
        trial: The trial, with the last value of the objective and the last order.
        metrics: The final metrics.
    """
    ended_at = metrics.get(trial.metric, trial.value)
    if ended_at is not None and not math.isfinite(ended_at):
        return _diverged(trial, ended_at)
    wire = {name: to_wire(value) for name, value in metrics.items()}
    match trial.heard.action:
        case "stop":
            return Outcome(result="pruned", message=trial.heard.reason, metrics=wire)
        case "pause":
            return Outcome(result="paused", message=trial.heard.reason, metrics=wire)
        case _:
            return Outcome(result="succeeded", metrics=wire)


def _diverged(trial: Trial, value: float) -> Outcome:
    before = (
        "it never was finite" if trial.last_finite is None else f"its last finite value was {trial.last_finite:.6g}"
    )
    message = f"{trial.metric} ended as {value}, which is no finite number; {before}"
    return Outcome(result="failed", failure=FailureClass.DIVERGED, message=message)


def give_up(trial: Trial, reason: str) -> Outcome:
    """Return the outcome of a task that ended itself early: as ordered, or pruned by its own decision."""
    told = conclude(trial, {})
    return told if told.result != "succeeded" else Outcome(result="pruned", message=reason or "the code gave it up")
