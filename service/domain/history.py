"""What strategies see of a study: an immutable view of its search trials as of one revision."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from service.contract.base import Direction, Directions, Value
from service.contract.trial import TrialState
from service.domain.front import Losses, front, losses
from service.domain.states import OPEN_TRIALS

Series = tuple[tuple[int, float], ...]
"""(step, value) of a metric, steps ascending; NaN and infinities are themselves."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A trial has reached a rung: a fact that stands, whatever becomes of the trial."""

    step: int
    """The rung."""
    value: float
    """What the objective was there."""
    rank: int
    """Its place among the arrivals at the rung when it came, or when it was promoted; the best is 1."""
    num: int
    """How many arrivals there were then, this one included."""


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One search trial: what was tried, why, and what came of it so far."""

    number: int
    state: TrialState
    parameters: Mapping[str, Value]
    series: Series = ()
    """Of the metric of the objective, of several the first."""
    value: float | None = None
    """Final value of the objective, of several the first; none while the trial is open, and where it never got one."""
    further: tuple[float, ...] = ()
    """Of several objectives the final values of the others, where `value` is one."""
    infeasible: bool = False
    stage: int | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    """The sampler's private notes from its suggestion."""
    run_until: int | None = None
    """Absolute step that it trains to for now; none: until the task ends by itself."""
    arrivals: tuple[Arrival, ...] = ()
    """The rungs it has reached, ascending."""
    finished_at: int | None = None
    """When it ended; microseconds. None while it is open."""

    @property
    def is_open(self) -> bool:
        """Whether the trial may still move."""
        return self.state in OPEN_TRIALS

    @property
    def values(self) -> tuple[float, ...] | None:
        """Final values of all objectives."""
        return None if self.value is None else (self.value, *self.further)

    @property
    def last_step(self) -> int | None:
        """The newest step reported, if any."""
        return self.series[-1][0] if self.series else None


@dataclass(frozen=True, slots=True)
class StageBox:
    """What a stage of a search after the first is to search."""

    number: int
    """The stage, from 0."""
    box: Mapping[str, Sequence[Value]]
    """Parameter -> its two ends, or the choices that are left."""
    reason: str
    """How the box came about."""


@dataclass(frozen=True, slots=True)
class History:
    """All search trials of a study in the order of their numbers, as of `revision`.

    Trial k stands at index k: numbers have no holes.
    """

    revision: int = 0
    trials: tuple[TrialRecord, ...] = ()
    epoch: int = 0
    """Revisions are of one epoch of the database: a restore begins another, in which they are counted anew."""
    earlier: tuple[TrialRecord, ...] = field(default=(), kw_only=True)
    """Completed trials of other studies to learn from at first, the worst first; numbered below 0, none of its own."""
    stages: Mapping[int, StageBox] = field(default_factory=dict, kw_only=True)
    """The stages that have begun, or whose box a person has accepted; what was decided of them stands."""

    def __iter__(self) -> Iterator[TrialRecord]:
        return iter(self.trials)

    def __len__(self) -> int:
        return len(self.trials)

    @property
    def next_number(self) -> int:
        """The number that the next new trial gets."""
        return len(self.trials)

    def with_stage(self, stage: StageBox) -> History:
        """Return this history with one more stage decided."""
        return replace(self, stages={**self.stages, stage.number: stage})

    def with_point(self, number: int, step: int, value: float) -> History:
        """Return this history with one more value of trial `number`, as a pruner must see it before it is stored."""
        trial = self.trials[number]
        return self.with_trial(replace(trial, series=(*trial.series, (step, value))))

    def with_trial(self, trial: TrialRecord) -> History:
        """Return this history with another record in the place of the trial of that number."""
        return replace(self, trials=(*self.trials[: trial.number], trial, *self.trials[trial.number + 1 :]))

    def finished(self) -> list[TrialRecord]:
        """Feasible trials with a finite final value: completed ones, and pruned ones with the value they reached."""
        return [
            trial
            for trial in self.trials
            if not trial.is_open and not trial.infeasible and trial.values and all(map(math.isfinite, trial.values))
        ]

    def best(self, direction: Direction) -> TrialRecord | None:
        """The completed trial with the best final value; the earliest of equals."""
        completed = [trial for trial in self.finished() if trial.state is TrialState.COMPLETED]
        if not completed:
            return None
        sign = -1.0 if direction == "maximize" else 1.0
        return min(completed, key=lambda trial: (sign * (trial.value or 0.0), trial.number))

    def front(self, directions: Directions) -> list[TrialRecord]:
        """The completed trials that no other one dominates, in the order of their numbers."""
        completed = [trial for trial in self.finished() if trial.state is TrialState.COMPLETED]
        points: list[Losses] = [losses(trial.values or (), directions) for trial in completed]
        return [completed[at] for at in front(points)]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Parameters for a new trial, the reason they were chosen, and the sampler's private notes."""

    parameters: Mapping[str, Value]
    reason: str
    notes: Mapping[str, Any] = field(default_factory=dict)
    stage: int | None = None
    run_until: int | None = None
    """Absolute step to train to; none: the study's maximum."""
    begins: StageBox | None = None
    """The stage that begins with this trial."""
