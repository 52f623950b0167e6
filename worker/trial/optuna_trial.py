"""Optuna's trial interface for objectives: suggestions return the values of parameters that the study declares."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from worker.training.errors import ConfigError
from worker.trial.trial import Trial


class OptunaTrial:
    """The methods of `optuna.trial.Trial` that objectives call; works without Optuna installed."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self.user_attrs: dict[str, Any] = {}
        """Attributes that the objective has set; they are lost when the attempt ends."""

    @property
    def number(self) -> int | None:
        """The trial's number in the study."""
        return self._trial.number

    @property
    def params(self) -> Mapping[str, Any]:
        """All parameters of the trial."""
        return self._trial.parameters

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Return the value of the declared parameter.

        Raises:
            ConfigError: The study does not declare the parameter, or its value is outside [low, high].
        """
        scale = f"step: {step}" if step is not None else "log: true" if log else ""
        declared = f"{{type: float, low: {low}, high: {high}{', ' if scale else ''}{scale}}}"
        return float(self._number(name, low, high, declared))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Return the value of the declared parameter.

        Raises:
            ConfigError: The study does not declare the parameter, or its value is not an integer in [low, high].
        """
        scale = f"step: {step}" if step != 1 else "log: true" if log else ""
        declared = f"{{type: int, low: {low}, high: {high}{', ' if scale else ''}{scale}}}"
        value = self._number(name, low, high, declared)
        if value != int(value):
            raise _error(name, f"is {value}, but the objective asks for a whole number; declare it as {declared}")
        return int(value)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return the value of the declared parameter.

        Raises:
            ConfigError: The study does not declare the parameter, or its value is not among the choices.
        """
        declared = f"{{type: categorical, choices: {list(choices)}}}"
        value = self._declared(name, declared)
        for choice in choices:
            if choice == value and isinstance(choice, bool) == isinstance(value, bool):
                return choice
        raise _error(name, f"is {value!r}, which the objective does not offer; declare it as {declared}")

    def report(self, value: float, step: int) -> None:
        """Report the objective's value at a step; of several values for one step, the first counts."""
        if step != self._trial.step:
            self._trial.report(step, {self._trial.metric: value})

    def should_prune(self) -> bool:
        """Return whether to raise `optuna.TrialPruned`, because the newest order is to stop or to pause."""
        return self._trial.should_stop

    def set_user_attr(self, key: str, value: Any) -> None:
        """Store a value for the objective's own use."""
        self.user_attrs[key] = value

    def _number(self, name: str, low: float, high: float, declared: str) -> float:
        value = self._declared(name, declared)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _error(name, f"is {value!r}, but the objective asks for a number; declare it as {declared}")
        slack = 1e-9 * max(abs(low), abs(high))  # multiples of a step are not exact in floating point
        if not low - slack <= value <= high + slack or math.isnan(value):
            raise _error(name, f"is {value}, but the objective asks for {low} to {high}; declare it as {declared}")
        return value

    def _declared(self, name: str, declared: str) -> Any:
        if name not in self._trial.parameters:
            raise _error(
                name,
                f"the objective asks for it, but the study does not declare it; write {name}: {declared}",
            )
        return self._trial.parameters[name]


def is_pruned(error: Exception) -> bool:
    """Return whether the objective pruned the trial by raising Optuna's `TrialPruned`."""
    return any(f"{base.__module__}.{base.__name__}" == "optuna.exceptions.TrialPruned" for base in type(error).__mro__)


def _error(name: str, message: str) -> ConfigError:
    return ConfigError(f"space.{name}", message)
