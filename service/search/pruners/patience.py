"""The patience rule: a trial that has not improved for a number of steps is stopped."""

from __future__ import annotations

from service.contract.base import Direction
from service.contract.report import Action, Verdict
from service.domain.history import History


class Patience:
    """Early stopping (Prechelt 1998) of a trial by its own curve alone."""

    def __init__(self, direction: Direction, *, patience: int, min_delta: float) -> None:
        self._sign = -1.0 if direction == "maximize" else 1.0
        self._patience = patience
        self._min_delta = min_delta

    def judge(self, history: History, number: int) -> Verdict:
        """Compare the newest step with the last one that improved on the best before it by more than `min_delta`."""
        series = history.trials[number].series
        step, _ = series[-1]
        improved_at, best = series[0]
        for at, value in series[1:]:
            if self._sign * (best - value) > self._min_delta:
                improved_at, best = at, value
        without = step - improved_at
        since = f"the best, {best:.6g}, is {without} steps old"
        if without >= self._patience:
            return Verdict(action=Action.STOP, reason=f"{since}, and patience lasts {self._patience}", step=step)
        return Verdict(action=Action.CONTINUE, reason=f"{since}, of {self._patience} that patience lasts", step=step)
