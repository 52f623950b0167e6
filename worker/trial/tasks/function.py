"""The task kind `function`: calls a custom function with the trial and turns its end into an outcome."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

from service.contract.attempt import Outcome
from service.contract.claim import Grant
from service.contract.task import Function
from worker.protocol import Provenance, Start
from worker.training.errors import ConfigError, did_you_mean
from worker.trial.channel import Channel
from worker.trial.optuna_trial import OptunaTrial, is_pruned
from worker.trial.outcome import outcome_of_early_end, outcome_of_return
from worker.trial.provenance import environment, fingerprint_of, loaded_sources
from worker.trial.trial import Stopped, Trial, TrialInfo


def run(grant: Grant, start: Start, channel: Channel) -> Outcome:
    """Import the function, which no earlier attempt has loaded in this process, and call it; raises what it raises."""
    task = Function.model_validate(grant.task)
    loaded_before = set(sys.modules)
    function = load(task.name)
    sources = loaded_sources(task.name.partition(":")[0], loaded_before)
    channel.send_provenance(Provenance(None, environment(start.threads), fingerprint_of(sources)))
    trial = Trial(TrialInfo.of(grant, start), channel)
    try:
        returned = function(OptunaTrial(trial) if task.style == "optuna" else trial)
    except Stopped as stopped:
        return outcome_of_early_end(trial, str(stopped))
    except SystemExit as end:
        if end.code not in (None, 0):
            raise
        returned = None  # a program ends successfully this way
    except Exception as error:
        if not is_pruned(error):
            raise
        return outcome_of_early_end(trial, str(error))
    return outcome_of_return(trial, report_return_value(trial, returned))


def load(name: str) -> Callable[[Any], Any]:
    """Return the function named by `package.module:function`.

    Raises:
        ImportError: The module, or one that it imports, is not installed here.
        ConfigError: The module has no such function.
    """
    module_name, _, path = name.partition(":")
    function: Any = importlib.import_module(module_name)
    for part in path.split("."):
        if not hasattr(function, part):
            names = [key for key in vars(function) if callable(getattr(function, key)) and not key.startswith("_")]
            raise ConfigError("task.function", f"{module_name} has no {part!r}; {did_you_mean(part, names)}")
        function = getattr(function, part)
    if not callable(function):
        raise ConfigError("task.function", f"{name} is not a function: {function!r:.100}")
    loaded: Callable[[Any], Any] = function
    return loaded


def report_return_value(trial: Trial, returned: Any) -> Mapping[str, float]:
    """Report the function's return value if it contains a new value of the objective.

    A plain number is a value of the objective. The new report's step is the one after the last reported step. If the
    value equals the last reported one, nothing is reported.

    Returns:
        The final metrics for the outcome; empty if they were reported.

    Raises:
        ConfigError: The return value is neither None, a number, nor a mapping of names to numbers.
    """
    metrics = _metrics(returned, trial.metric)
    value = metrics.get(trial.metric)
    if value is None or trial.last_order.action != "continue":
        return metrics
    if value == trial.value or (math.isnan(value) and trial.value is not None and math.isnan(trial.value)):
        return {name: other for name, other in metrics.items() if name != trial.metric}
    trial.report((trial.step or 0) + 1, metrics)
    return {}


def _metrics(returned: Any, objective: str) -> dict[str, float]:
    if returned is None:
        return {}
    try:
        if isinstance(returned, Mapping):
            return {str(name): float(value) for name, value in returned.items()}
        return {objective: float(returned)}
    except (TypeError, ValueError, RuntimeError):  # a tensor of several elements raises RuntimeError
        message = f"must return a number, a mapping of metrics to numbers, or None; it returned {returned!r:.100}"
        raise ConfigError("task.function", message) from None
