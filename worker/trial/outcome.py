"""Turns the end of a custom task into the attempt's outcome: finished, pruned, paused, diverged, killed by a signal."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Mapping
from contextlib import suppress

from service.contract.attempt import FailureClass, Outcome
from service.contract.report import to_wire
from worker.trial.trial import Trial


def outcome_of_return(trial: Trial, metrics: Mapping[str, float]) -> Outcome:
    """Return the outcome of a task that returned, according to the last order that its code received.

    A task whose objective ended as NaN or infinite has diverged, whatever the order.

    Args:
        trial: The trial, with the last value of the objective and the last order.
        metrics: The final metrics.
    """
    value = metrics.get(trial.metric, trial.value)
    if value is not None and not math.isfinite(value):
        return _diverged(trial, value)
    wire = {name: to_wire(metric) for name, metric in metrics.items()}
    match trial.last_order.action:
        case "stop":
            return Outcome(result="pruned", message=trial.last_order.reason, metrics=wire)
        case "pause":
            return Outcome(result="paused", message=trial.last_order.reason, metrics=wire)
        case _:
            return Outcome(result="succeeded", metrics=wire)


def _diverged(trial: Trial, value: float) -> Outcome:
    last_finite = (
        "it was never finite" if trial.last_finite is None else f"its last finite value was {trial.last_finite:.6g}"
    )
    message = f"{trial.metric} ended as {value}, which is not a finite number; {last_finite}"
    return Outcome(result="failed", failure=FailureClass.DIVERGED, message=message)


def outcome_of_early_end(trial: Trial, reason: str) -> Outcome:
    """Return the outcome of a task that ended itself early: as ordered, or pruned by its own decision."""
    outcome = outcome_of_return(trial, {})
    if outcome.result != "succeeded":
        return outcome
    return Outcome(result="pruned", message=reason or "the training code ended the trial")


def end_by_signal(number: int) -> None:
    """End this process by the signal that ended another process of its attempt, so that the agent treats both alike.

    The signal's handler is reset first. Returns only if that signal ends no process.
    """
    with suppress(OSError):  # SIGKILL has no handler to reset
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
