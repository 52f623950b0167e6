"""Early stopping by patience: stops a trial that has not improved for a number of steps."""

from __future__ import annotations

from service.contract.base import Direction
from service.contract.report import Action, Verdict
from service.domain.history import History


class PatiencePruner:
    """Early stopping (Prechelt 1998) of a trial by its own learning curve only.

    Args:
        direction: direction of the objective.
        patience: number of steps without improvement after which the trial is stopped.
        min_delta: an improvement must exceed this amount, in units of the objective.
    """

    def __init__(self, direction: Direction, *, patience: int, min_delta: float) -> None:
        self._sign = -1.0 if direction == "maximize" else 1.0
        self._patience = patience
        self._min_delta = min_delta

    def judge(self, history: History, number: int) -> Verdict:
        """Stop the trial if its last improvement by more than `min_delta` is at least `patience` steps old."""
        series = history.trials[number].series
        step, _ = series[-1]
        improved_at, best = series[0]
        for at, value in series[1:]:
            if self._sign * (best - value) > self._min_delta:
                improved_at, best = at, value
        without = step - improved_at
        since = f"the best, {best:.6g}, is {without} steps old"
        if without >= self._patience:
            return Verdict(action=Action.STOP, reason=f"{since}, and the patience is {self._patience} steps", step=step)
        return Verdict(action=Action.CONTINUE, reason=f"{since}, and the patience is {self._patience} steps", step=step)
