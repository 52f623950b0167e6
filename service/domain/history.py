"""The history of a study: an immutable view of its search trials that samplers, pruners and schedulers read."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from service.contract.base import Direction, Directions, Value
from service.contract.trial import TrialState
from service.domain.pareto import LossVector, losses, pareto_front
from service.domain.states import OPEN_TRIALS

Series = tuple[tuple[int, float], ...]
"""The learning curve of a metric: (step, value) pairs with ascending steps. Values may be NaN or infinite."""


@dataclass(frozen=True, slots=True)
class RungResult:
    """A rung result: the value and rank of a trial at a rung, kept whatever happens to the trial later."""

    step: int
    """Absolute step of the rung."""
    value: float
    """Objective at the rung."""
    rank: int
    """Rank among the rung's results (1 is best) when the trial reached the rung, or when it was promoted."""
    num: int
    """Number of results at the rung at that time, including this one."""


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One search trial: its parameters, state, learning curve and result so far."""

    number: int
    state: TrialState
    parameters: Mapping[str, Value]
    series: Series = ()
    """Learning curve of the objective's metric; in a multi-objective study, of the first objective."""
    value: float | None = None
    """Final value of the objective; in a multi-objective study, of the first one.

    None while the trial is open, and if it ended without a value.
    """
    other_values: tuple[float, ...] = ()
    """Final values of the other objectives of a multi-objective study; empty if `value` is None."""
    tie_break_loss: float | None = None
    """The plain loss at the final value: of trials with equal values, the one with the lowest loss is the best."""
    infeasible: bool = False
    stage: int | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Private notes that the sampler stored with its suggestion."""
    run_until: int | None = None
    """Absolute step that the trial trains to for now; None if it trains until the task ends by itself."""
    rung_results: tuple[RungResult, ...] = ()
    """Results at the rungs that the trial has reached, by ascending step."""
    finished_at: int | None = None
    """When the trial ended, in microseconds; None while it is open."""

    @property
    def is_open(self) -> bool:
        """Whether the state of the trial can still change."""
        return self.state in OPEN_TRIALS

    @property
    def values(self) -> tuple[float, ...] | None:
        """Final values of all objectives; None if the trial has none."""
        return None if self.value is None else (self.value, *self.other_values)

    @property
    def last_step(self) -> int | None:
        """The newest reported step; None before the first report."""
        return self.series[-1][0] if self.series else None


@dataclass(frozen=True, slots=True)
class StageBox:
    """The box of a coarse-to-fine stage after the first one: the sub-space that the stage searches."""

    number: int
    """Index of the stage, from 0."""
    box: Mapping[str, Sequence[Value]]
    """Parameter -> its lower and upper end, or its remaining choices."""
    reason: str
    """How the box was derived."""


@dataclass(frozen=True, slots=True)
class History:
    """All search trials of a study at `revision`, in the order of their numbers.

    Trial k is at index k, because numbers have no gaps.
    """

    revision: int = 0
    trials: tuple[TrialRecord, ...] = ()
    epoch: int = 0
    """Epoch of the database that `revision` belongs to. A restore starts a new epoch, which counts revisions anew."""
    prior_trials: tuple[TrialRecord, ...] = field(default=(), kw_only=True)
    """Prior trials of a warm start: completed trials of other studies, worst first, with numbers below 0."""
    stages: Mapping[int, StageBox] = field(default_factory=dict, kw_only=True)
    """Boxes that are final: those of stages that have begun, or whose box a person has accepted."""

    def __iter__(self) -> Iterator[TrialRecord]:
        return iter(self.trials)

    def __len__(self) -> int:
        return len(self.trials)

    @property
    def next_number(self) -> int:
        """The number of the next new trial."""
        return len(self.trials)

    def with_stage(self, stage: StageBox) -> History:
        """Return this history with the box of one more stage."""
        return replace(self, stages={**self.stages, stage.number: stage})

    def with_value(self, number: int, step: int, value: float) -> History:
        """Return this history with one more value on the learning curve of trial `number`.

        A pruner judges the value before the service stores it.
        """
        trial = self.trials[number]
        return self.with_trial(replace(trial, series=(*trial.series, (step, value))))

    def with_trial(self, trial: TrialRecord) -> History:
        """Return this history with `trial` in place of the record with the same number."""
        return replace(self, trials=(*self.trials[: trial.number], trial, *self.trials[trial.number + 1 :]))

    def finished(self) -> list[TrialRecord]:
        """Return the feasible trials that ended with finite values, completed or pruned.

        The value of a pruned trial is the one that it had reached.
        """
        return [
            trial
            for trial in self.trials
            if not trial.is_open and not trial.infeasible and trial.values and all(map(math.isfinite, trial.values))
        ]

    def best(self, direction: Direction, without_stages: Collection[int] = ()) -> TrialRecord | None:
        """Return the completed trial with the best final value, not counting those of `without_stages`.

        Of equal values, the one with the lowest plain loss is the best, and of equal losses the lowest number.
        """
        finished = (trial for trial in self.finished() if trial.stage not in without_stages)
        completed = [trial for trial in finished if trial.state is TrialState.COMPLETED]
        if not completed:
            return None
        sign = -1.0 if direction == "maximize" else 1.0

        def rank(trial: TrialRecord) -> tuple[float, float, int]:
            loss = math.inf if trial.tie_break_loss is None else trial.tie_break_loss
            return sign * (trial.value or 0.0), loss, trial.number

        return min(completed, key=rank)

    def pareto_front(self, directions: Directions) -> list[TrialRecord]:
        """Return the Pareto front of the completed trials, in the order of their numbers."""
        completed = [trial for trial in self.finished() if trial.state is TrialState.COMPLETED]
        points: list[LossVector] = [losses(trial.values or (), directions) for trial in completed]
        return [completed[at] for at in pareto_front(points)]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Parameters for a new trial, the reason for them, and the sampler's private notes."""

    parameters: Mapping[str, Value]
    reason: str
    notes: Mapping[str, Any] = field(default_factory=dict)
    stage: int | None = None
    run_until: int | None = None
    """Absolute step to train to; None for the study's maximum."""
    new_stage: StageBox | None = None
    """Box of the coarse-to-fine stage that begins with this trial, if one does."""
