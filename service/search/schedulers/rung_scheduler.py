"""What all schedulers share: trials get a result at each rung, pause there, and are promoted or not."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from service.contract.report import Action, Verdict
from service.contract.study import Objective
from service.domain.history import History, RungResult, TrialRecord
from service.domain.objective import final_value
from service.domain.rungs import Rungs


@dataclass(frozen=True, slots=True)
class Promote:
    """Decision to promote a paused trial: the step it trains to, its rung result, and the reason."""

    number: int
    run_until: int
    result: RungResult
    reason: str

    def of(self, trial: TrialRecord) -> TrialRecord:
        """Return the promoted trial's record, with the rung result by which it was promoted."""
        results = (self.result if each.step == self.result.step else each for each in trial.rung_results)
        return replace(trial, run_until=self.run_until, rung_results=tuple(results))


RungEntry = tuple[TrialRecord, float]
"""A trial that reached a rung, and its value there."""


class RungScheduler:
    """A scheduler of one study, which is also its pruner: trials pause at rungs, and some of them are promoted."""

    def __init__(self, rungs: Rungs, objective: Objective) -> None:
        self.rungs = rungs
        self._objective = objective

    def new_rung_results(self, history: History, number: int) -> tuple[RungResult, ...]:
        """Return the results at the rungs that a trial has newly reached, ranked among those of its bracket.

        A trial reaches a rung with its first value at or after the rung's step. The result is the value that the
        objective would have if the trial had ended there.
        """
        trial, arrived = history.trials[number], []
        known = {result.step for result in trial.rung_results}
        for rung in self.rungs.of(number)[:-1]:
            reached = next((step for step, _ in trial.series if step >= rung), None)
            if reached is None or rung in known:
                continue
            value = final_value(self._objective, tuple(point for point in trial.series if point[0] <= reached))
            if value is None or not math.isfinite(value):
                break
            entries = self._entries_by_rung(history).get((self.rungs.bracket(number), rung), [])
            arrived.append(self._rank_at(entries, number, rung, value))
        return tuple(arrived)

    def judge(self, history: History, number: int) -> Verdict:
        """Judge a trial at its newest step.

        In mode promote, a trial pauses at the rung that it trains to. In mode stop, it stops if its rank is too low.
        """
        trial = history.trials[number]
        step, _ = trial.series[-1]
        if not trial.rung_results or trial.rung_results[-1].step > step:
            reason = f"its next rung is at step {self.rungs.after(number, step)}"
            return Verdict(action=Action.CONTINUE, reason=reason, step=step)
        result = trial.rung_results[-1]
        if trial.run_until is not None and trial.run_until <= result.step:
            return Verdict(action=Action.PAUSE, reason=f"{describe_rank(result)}: pauses there", step=step)
        if self.rungs.survives(result) or (self.rungs.promotes and not self.rungs.has_quota):
            reason = f"{describe_rank(result)}: continues to step {self.rungs.after(number, result.step)}"
            return Verdict(action=Action.CONTINUE, reason=reason, step=step)
        best = max(1, self.rungs.num_promotable(result.num))
        reason = f"{describe_rank(result)}, of which the best {best} {'goes' if best == 1 else 'go'} on"
        return Verdict(action=Action.STOP, reason=reason, step=step)

    def _entries_by_rung(self, history: History) -> dict[tuple[int, int], list[RungEntry]]:
        """Return (bracket, rung) -> the trials that reached it, with their values there."""
        found: dict[tuple[int, int], list[RungEntry]] = {}
        for trial in history:
            if trial.rung_results:
                bracket = self.rungs.bracket(trial.number)
                for result in trial.rung_results:
                    found.setdefault((bracket, result.step), []).append((trial, result.value))
        return found

    def _rank_at(self, entries: list[RungEntry], number: int, rung: int, value: float) -> RungResult:
        """Rank a trial with this value among the trials that reached its rung."""
        mine = self._key(number, value)
        others = [self._key(trial.number, theirs) for trial, theirs in entries if trial.number != number]
        return RungResult(rung, value, rank=sum(theirs < mine for theirs in others) + 1, num=len(others) + 1)

    def _key(self, number: int, value: float) -> tuple[float, int]:
        return (-value if self._objective.direction == "maximize" else value), number


def describe_rank(result: RungResult) -> str:
    """Describe the rank of a rung result, such as "2nd of 7 at step 3"."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(result.rank % 10, "th") if result.rank % 100 not in {11, 12, 13} else "th"
    return f"{result.rank}{ending} of {result.num} at step {result.step}"


def is_beyond(trial: TrialRecord, rung: int) -> bool:
    """Return whether a trial that reached a rung has been promoted beyond it."""
    return trial.run_until is None or trial.run_until > rung or trial.rung_results[-1].step > rung
