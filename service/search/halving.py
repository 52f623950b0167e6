"""Successive halving, asynchronously: who goes on from which rung, by the arrivals there alone.

ASHA (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning") promotes: a trial pauses at each rung and
goes on once it is among the best ⌊n/eta⌋ of the n that arrived; no more than so many ever do, as in D-ASHA (Li et al.
2022, "Hyper-Tune"). In mode `stop` the arrival decides for good. Hyperband (Li et al. 2018) is the same in several
brackets, which are ranked apart. Everything follows from the history, so a restart changes no decision.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from service.contract.problem import FieldError
from service.contract.pruner import AshaPruner, HyperbandPruner
from service.contract.report import Action, Verdict
from service.contract.sampler import CoarseToFineSampler
from service.contract.study import Objective, StudySpec
from service.contract.trial import TrialState
from service.domain.history import Arrival, History, TrialRecord
from service.domain.objective import final_value
from service.domain.rungs import Rungs, rungs_of


@dataclass(frozen=True, slots=True)
class Promote:
    """A paused trial that goes on: to which step, from which standing, and why."""

    number: int
    run_until: int
    arrival: Arrival
    reason: str

    def of(self, trial: TrialRecord) -> TrialRecord:
        """The trial as it goes on: its place among the arrivals is the one that it was promoted for."""
        arrivals = (self.arrival if each.step == self.arrival.step else each for each in trial.arrivals)
        return replace(trial, run_until=self.run_until, arrivals=tuple(arrivals))


Arrived = tuple[TrialRecord, float]
"""A trial at a rung, and what it reached there."""


class Halving:
    """The scheduler of one study."""

    def __init__(self, rungs: Rungs, objective: Objective) -> None:
        self.rungs = rungs
        self._objective = objective

    def arrivals(self, history: History, number: int) -> tuple[Arrival, ...]:
        """The rungs that a trial has reached by its series and not arrived at before, with its standing there.

        A trial arrives with the first value at or after the rung; it counts for what the objective would be, had the
        trial ended there.
        """
        trial, arrived = history.trials[number], []
        known = {arrival.step for arrival in trial.arrivals}
        for rung in self.rungs.of(number)[:-1]:
            reached = next((step for step, _ in trial.series if step >= rung), None)
            if reached is None or rung in known:
                continue
            value = final_value(self._objective, tuple(point for point in trial.series if point[0] <= reached))
            if value is None or not math.isfinite(value):
                break
            there = self._arrived(history).get((self.rungs.bracket(number), rung), [])
            arrived.append(self._standing(there, number, rung, value))
        return tuple(arrived)

    def promotion(self, history: History) -> Promote | None:
        """The paused trial to resume next, if any: from the top rung down, the best of a rung first.

        Algorithm 2 of Li et al. 2020: of the n arrivals at a rung, those among the best ⌊n/eta⌋ that were not
        promoted yet; of equals the earlier trial. That alone would promote more than ⌊n/eta⌋ where better trials come
        late; here a rung gives a place only for each eta arrivals, so that counts are exact at any parallelism.
        What is paused here has a checkpoint to go on from.
        """
        if not any(trial.state is TrialState.PAUSED for trial in history):
            return None
        arrived = self._arrived(history)
        for rung in reversed(self.rungs.steps[:-1]):
            for bracket in range(len(self.rungs.brackets)):
                there = arrived.get((bracket, rung), [])
                num_places = self.rungs.num_on(len(there))
                if self.rungs.promotes and sum(_is_beyond(trial, rung) for trial, _ in there) >= num_places:
                    continue
                for trial, value in self._ranked(there)[:num_places]:
                    if trial.state is TrialState.PAUSED and trial.arrivals[-1].step == rung:
                        return self._promote(there, trial, rung, value)
        return None

    def left_behind(self, history: History, trial: TrialRecord) -> str:
        """Say why a trial that is paused at its last rung was not promoted, by all arrivals there up to now."""
        last = trial.arrivals[-1]
        there = self._arrived(history)[self.rungs.bracket(trial.number), last.step]
        standing = self._standing(there, trial.number, last.step, last.value)
        num_on = sum(_is_beyond(other, last.step) for other, _ in there)
        if num_on == 0:
            return f"not promoted: {told(standing)}, and none went on"
        went = "1 of them went on" if num_on == 1 else f"{num_on} of them went on"
        if standing.rank > num_on:
            went = "the best went on" if num_on == 1 else f"the best {num_on} went on"
        return f"not promoted: {told(standing)}, {went}"

    def judge(self, history: History, number: int) -> Verdict:
        """Pause a trial at the rung it was to train to; where arrivals decide for good, stop one that fell behind."""
        trial = history.trials[number]
        step, _ = trial.series[-1]
        if not trial.arrivals or trial.arrivals[-1].step > step:
            reason = f"its next rung is at step {self.rungs.after(number, step)}"
            return Verdict(action=Action.CONTINUE, reason=reason, step=step)
        arrival = trial.arrivals[-1]
        if trial.run_until is not None and trial.run_until <= arrival.step:
            return Verdict(action=Action.PAUSE, reason=f"{told(arrival)}: pauses there", step=step)
        if self.rungs.passes(arrival):
            reason = f"{told(arrival)}: goes on to step {self.rungs.after(number, arrival.step)}"
            return Verdict(action=Action.CONTINUE, reason=reason, step=step)
        best = max(1, self.rungs.num_on(arrival.num))
        reason = f"{told(arrival)}, of which the best {best} {'goes' if best == 1 else 'go'} on"
        return Verdict(action=Action.STOP, reason=reason, step=step)

    def _promote(self, there: list[Arrived], trial: TrialRecord, rung: int, value: float) -> Promote:
        arrival = self._standing(there, trial.number, rung, value)
        goal = self.rungs.after(trial.number, rung) if self.rungs.promotes else self.rungs.last
        best = self.rungs.num_on(arrival.num)
        reason = (
            f"promoted to step {goal}: {told(arrival)}, of which the best {best} {'goes' if best == 1 else 'go'} on"
        )
        return Promote(trial.number, goal, arrival, reason)

    def _arrived(self, history: History) -> dict[tuple[int, int], list[Arrived]]:
        """(bracket, rung) -> the trials that arrived there, with what they reached."""
        found: dict[tuple[int, int], list[Arrived]] = {}
        for trial in history:
            if trial.arrivals:
                bracket = self.rungs.bracket(trial.number)
                for arrival in trial.arrivals:
                    found.setdefault((bracket, arrival.step), []).append((trial, arrival.value))
        return found

    def _standing(self, there: list[Arrived], number: int, rung: int, value: float) -> Arrival:
        """Where a trial with this value stands among those who arrived at its rung."""
        mine = self._key(number, value)
        others = [self._key(trial.number, theirs) for trial, theirs in there if trial.number != number]
        return Arrival(rung, value, rank=sum(theirs < mine for theirs in others) + 1, num=len(others) + 1)

    def _ranked(self, there: list[Arrived]) -> list[Arrived]:
        return sorted(there, key=lambda each: self._key(each[0].number, each[1]))

    def _key(self, number: int, value: float) -> tuple[float, int]:
        return (-value if self._objective.direction == "maximize" else value), number


def halving_of(spec: StudySpec) -> Halving | None:
    """The scheduler of a checked spec; None where its pruner is none."""
    rungs = rungs_of(spec)
    return Halving(rungs, spec.watched) if rungs is not None else None


def told(arrival: Arrival) -> str:
    """Say where an arrival stands: '2nd of 7 at step 3'."""
    ending = (
        {1: "st", 2: "nd", 3: "rd"}.get(arrival.rank % 10, "th") if arrival.rank % 100 not in {11, 12, 13} else "th"
    )
    return f"{arrival.rank}{ending} of {arrival.num} at step {arrival.step}"


def check_rungs(spec: StudySpec) -> list[FieldError]:
    """What keeps a scheduler and the rest of a spec from working together."""
    if not isinstance(spec.pruner, AshaPruner | HyperbandPruner):
        return []
    name = spec.pruner.name
    if isinstance(spec.sampler, CoarseToFineSampler):
        message = (
            f"coarse_to_fine decides by its stages how long each trial trains, so {name} cannot; write pruner: median"
        )
        return [FieldError(path="pruner.name", message=message)]
    if spec.resource is None:
        message = f"{name} has to know where a trial ends; write resource: {{name: epoch, max: 27}}"
        return [FieldError(path="resource", message=message)]
    last = spec.resource.max
    if last < 2:
        message = f"{name} needs a step before the last to choose at; write 2 or more, or pruner: none"
        return [FieldError(path="resource.max", message=message)]
    if spec.pruner.min is not None and spec.pruner.min >= last:
        message = f"the first rung is at step {spec.pruner.min}, but trials end at {last}; write less than {last}"
        return [FieldError(path="pruner.min", message=message)]
    return []


def _is_beyond(trial: TrialRecord, rung: int) -> bool:
    """Whether a trial that arrived at a rung has set out for more."""
    return trial.run_until is None or trial.run_until > rung or trial.arrivals[-1].step > rung
