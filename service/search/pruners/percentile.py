"""The percentile pruner: stops a trial whose best value so far is outside the best share of trials at that step."""

from __future__ import annotations

import math
from collections.abc import Sequence

from service.contract.base import Direction
from service.contract.report import Action, Verdict
from service.domain.history import History, Series, TrialRecord


class PercentilePruner:
    """The stopping rule of Google Vizier (Golovin et al. 2017, section 3.3.2) for any percentile, on best values.

    Args:
        direction: direction of the objective.
        percentile: percentage of best trials that continue; 50 is the median rule.
        startup_trials: number of other trials that must have reached a step before it is judged.
        warmup_steps: the first step that is judged.
    """

    def __init__(self, direction: Direction, percentile: float, *, startup_trials: int, warmup_steps: int) -> None:
        self._pick = max if direction == "maximize" else min
        self._word = "below" if direction == "maximize" else "above"
        self._percentile = percentile
        self._startup_trials = startup_trials
        self._warmup_steps = warmup_steps

    def judge(self, history: History, number: int) -> Verdict:
        """Compare the trial's best value with those of all feasible trials that reached its newest step."""
        series = history.trials[number].series
        step, _ = series[-1]
        if step < self._warmup_steps:
            reason = f"step {step} comes before step {self._warmup_steps}, the first that is judged"
            return Verdict(action=Action.CONTINUE, reason=reason, step=step)
        others = [
            best
            for trial in history
            if trial.number != number and _reached(trial, step) and (best := self._best(trial.series, step)) is not None
        ]
        if len(others) < self._startup_trials:
            reason = f"{len(others)} other trials reached step {step}, {self._startup_trials} are needed to judge"
            return Verdict(action=Action.CONTINUE, reason=reason, step=step)
        mine, theirs = self._best(series, step), self._limit(others)
        assert mine is not None, "a pruner judges finite series only"
        is_worse = self._pick(mine, theirs) != mine
        relation = self._word if is_worse else f"not {self._word}"
        limit = "median" if self._percentile == 50 else f"limit of the best {self._percentile:g} %,"
        reason = f"best {mine:.6g} by step {step} is {relation} the {limit} {theirs:.6g} of {len(others)} others"
        return Verdict(action=Action.STOP if is_worse else Action.CONTINUE, reason=reason, step=step)

    def _best(self, series: Series, step: int) -> float | None:
        values = [value for at, value in series if at <= step and math.isfinite(value)]
        return self._pick(values, default=None)

    def _limit(self, others: Sequence[float]) -> float:
        """Return the percentile of the values, counted from the best and linearly interpolated."""
        best_first = sorted(others, reverse=self._pick is max)
        place = self._percentile / 100 * (len(best_first) - 1)
        low = math.floor(place)
        high = min(low + 1, len(best_first) - 1)
        return best_first[low] + (place - low) * (best_first[high] - best_first[low])


def _reached(trial: TrialRecord, step: int) -> bool:
    return not trial.infeasible and trial.last_step is not None and trial.last_step >= step
