"""Asynchronous successive halving (ASHA and Hyperband): decides from rung results which trials continue.

ASHA (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning") pauses a trial at each rung and promotes
it once it is among the best ⌊n/eta⌋ of the n trials that reached the rung. Never more than ⌊n/eta⌋ are promoted, as in
D-ASHA (Li et al. 2022, "Hyper-Tune"). In mode `stop`, a trial's rank when it reaches the rung is final. Hyperband (Li
et al. 2018) runs several brackets, which are ranked separately. All decisions depend on the history only, so a restart
changes none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from service.contract.problem import FieldError
from service.contract.pruner import AshaPrunerSpec, HyperbandPrunerSpec
from service.contract.report import Action, Verdict
from service.contract.sampler import CoarseToFineSamplerSpec
from service.contract.study import Objective, StudySpec
from service.contract.trial import TrialState
from service.domain.history import History, RungResult, TrialRecord
from service.domain.objective import final_value
from service.domain.rungs import Rungs, rungs_of


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


class SuccessiveHalving:
    """The successive halving scheduler of one study, which is also its pruner."""

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

    def promotion(self, history: History) -> Promote | None:
        """Return the paused trial to promote next, or None: from the top rung down, and the best of a rung first.

        Algorithm 2 of Li et al. 2020 promotes trials among the best ⌊n/eta⌋ of n at a rung that were not promoted yet;
        among equals the earlier trial wins. That alone would promote more than ⌊n/eta⌋ trials if better ones arrive
        late. Here each eta results at a rung allow one promotion, so counts are exact at any parallelism. A paused
        trial has a checkpoint to resume from.
        """
        if not any(trial.state is TrialState.PAUSED for trial in history):
            return None
        arrived = self._entries_by_rung(history)
        for rung in reversed(self.rungs.steps[:-1]):
            for bracket in range(len(self.rungs.brackets)):
                entries = arrived.get((bracket, rung), [])
                num_places = self.rungs.num_promotable(len(entries))
                if self.rungs.promotes and sum(_is_beyond(trial, rung) for trial, _ in entries) >= num_places:
                    continue
                for trial, value in self._ranked(entries)[:num_places]:
                    if trial.state is TrialState.PAUSED and trial.rung_results[-1].step == rung:
                        return self._promote(entries, trial, rung, value)
        return None

    def not_promoted_reason(self, history: History, trial: TrialRecord) -> str:
        """Explain why a paused trial was not promoted from its last rung, by all results at that rung so far."""
        last = trial.rung_results[-1]
        entries = self._entries_by_rung(history)[self.rungs.bracket(trial.number), last.step]
        result = self._rank_at(entries, trial.number, last.step, last.value)
        num_on = sum(_is_beyond(other, last.step) for other, _ in entries)
        if num_on == 0:
            return f"not promoted: {describe_rank(result)}, and none was promoted"
        went = "1 of them was promoted" if num_on == 1 else f"{num_on} of them were promoted"
        if result.rank > num_on:
            went = "the best was promoted" if num_on == 1 else f"the best {num_on} were promoted"
        return f"not promoted: {describe_rank(result)}, {went}"

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
        if self.rungs.survives(result):
            reason = f"{describe_rank(result)}: continues to step {self.rungs.after(number, result.step)}"
            return Verdict(action=Action.CONTINUE, reason=reason, step=step)
        best = max(1, self.rungs.num_promotable(result.num))
        reason = f"{describe_rank(result)}, of which the best {best} {'goes' if best == 1 else 'go'} on"
        return Verdict(action=Action.STOP, reason=reason, step=step)

    def _promote(self, entries: list[RungEntry], trial: TrialRecord, rung: int, value: float) -> Promote:
        result = self._rank_at(entries, trial.number, rung, value)
        goal = self.rungs.after(trial.number, rung) if self.rungs.promotes else self.rungs.last
        best = self.rungs.num_promotable(result.num)
        reason = (
            f"promoted to step {goal}: {describe_rank(result)}, of which the best {best} "
            f"{'goes' if best == 1 else 'go'} on"
        )
        return Promote(trial.number, goal, result, reason)

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

    def _ranked(self, entries: list[RungEntry]) -> list[RungEntry]:
        return sorted(entries, key=lambda each: self._key(each[0].number, each[1]))

    def _key(self, number: int, value: float) -> tuple[float, int]:
        return (-value if self._objective.direction == "maximize" else value), number


def halving_of(spec: StudySpec) -> SuccessiveHalving | None:
    """Return the scheduler of a checked spec, or None if its pruner is not a scheduler."""
    rungs = rungs_of(spec)
    return SuccessiveHalving(rungs, spec.primary_objective) if rungs is not None else None


def describe_rank(result: RungResult) -> str:
    """Describe the rank of a rung result, such as "2nd of 7 at step 3"."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(result.rank % 10, "th") if result.rank % 100 not in {11, 12, 13} else "th"
    return f"{result.rank}{ending} of {result.num} at step {result.step}"


def check_rungs(spec: StudySpec) -> list[FieldError]:
    """Check that a scheduler fits the spec's sampler and resource."""
    if not isinstance(spec.pruner, AshaPrunerSpec | HyperbandPrunerSpec):
        return []
    name = spec.pruner.name
    if isinstance(spec.sampler, CoarseToFineSamplerSpec):
        message = (
            f"coarse_to_fine decides by its stages how long each trial trains, so {name} cannot; write pruner: median"
        )
        return [FieldError(path="pruner.name", message=message)]
    if spec.resource is None:
        message = f"{name} needs the last step of a trial; write resource: {{name: epoch, max: 27}}"
        return [FieldError(path="resource", message=message)]
    last = spec.resource.max
    if last < 2:
        message = f"{name} needs a step before the last one to compare trials at; write 2 or more, or pruner: none"
        return [FieldError(path="resource.max", message=message)]
    if spec.pruner.min is not None and spec.pruner.min >= last:
        message = f"the first rung is at step {spec.pruner.min}, but trials end at {last}; write less than {last}"
        return [FieldError(path="pruner.min", message=message)]
    return []


def _is_beyond(trial: TrialRecord, rung: int) -> bool:
    """Return whether a trial that reached a rung has been promoted beyond it."""
    return trial.run_until is None or trial.run_until > rung or trial.rung_results[-1].step > rung
