"""The model behind freeze-thaw decisions: all learning curves of a study, and what it expects of their ends."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.contract.space import Space
from service.contract.study import Objective
from service.contract.trial import TrialState
from service.domain.history import TrialRecord
from service.domain.objective import final_value
from service.search.gaussian_process.acquisition import log_expected_improvement
from service.search.gaussian_process.curve_regression import (
    CurveHyperparameters,
    CurvePoints,
    CurvePosterior,
    fit,
    step_position,
)
from service.search.gaussian_process.encoding import Encoding, Floats, Points
from service.search.gaussian_process.feasibility import MAX_FITTED, evenly

NOTE = "freeze_thaw"
"""Name of the note that holds the hyperparameters of a suggestion's model."""

_MAX_VALUES = 300
"""Largest number of values in the model, because its cost grows with the cube of this number."""

_STEPS_PER_TRIAL = 3
"""Number of values of a trial in the model: its newest ones at a rung, and its newest one."""

_EARLY_STEP = 2
"""A step at which a value is taken as well, because it shows how fast a trial starts."""

_ALWAYS_FITTED = 16
"""Number of trials up to which the hyperparameters are fitted anew to every decision."""

_MIN_TRIALS = 2

_LARGE_NOISE = 0.1
"""Variance of the noise, of values with variance 1, above which the incumbent is a prediction and no observed value."""

_NUM_BEST = 5

_WITHOUT_VALUE = frozenset({TrialState.FAILED, TrialState.CANCELLED})


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the model expects a trial to end at, in the units of the objective."""

    median: float
    low: float
    """The 10 % quantile, or the 90 % one where larger values are better."""
    high: float


@dataclass(frozen=True, slots=True)
class _Scale:
    """How losses become values with mean 0 and variance 1: the logarithm of the distance to the best, standardised.

    The distance counts in quarters of the distance between the median and the best, so that differences among the good
    trials weigh as much as those between bad ones.
    """

    sign: float
    best: float
    quarter: float
    centre: float
    width: float

    @classmethod
    def of(cls, losses: Floats, newest: Floats, sign: float) -> _Scale:
        """Return the scale of losses.

        Args:
            losses: the losses of the model.
            newest: the newest loss of each trial.
            sign: -1 if larger values of the objective are better, else 1.
        """
        best = float(losses.min())
        quarter = 0.25 * (float(np.median(newest)) - best)
        quarter = quarter if quarter > 0 else 0.25 * (float(losses.max()) - best) or 1.0
        squeezed = np.log1p((losses - best) / quarter)
        return cls(sign, best, quarter, float(squeezed.mean()), float(squeezed.std()) or 1.0)

    def values(self, losses: Floats) -> Floats:
        """Return losses as values of the model."""
        values: Floats = (np.log1p(np.maximum(losses - self.best, 0.0) / self.quarter) - self.centre) / self.width
        return values

    def original(self, value: float) -> float:
        """Return a value of the model in the units of the objective."""
        exponent = min(value * self.width + self.centre, 500.0)
        return self.sign * (self.best + self.quarter * math.expm1(exponent))


class CurveSurrogate:
    """A Gaussian process of all learning curves of a study, and the improvement it expects of each trial's end.

    Attributes:
        encoding: the encoding of the space.
        num_trials: number of trials with values in the model.
        best: the best final value so far in the units of the objective; None if no trial has completed.
    """

    def __init__(
        self,
        encoding: Encoding,
        posterior: CurvePosterior,
        scale: _Scale,
        trials: Sequence[TrialRecord],
        newest: Mapping[int, float],
    ) -> None:
        self.encoding = encoding
        self.num_trials = len(newest)
        self._posterior = posterior
        self._scale = scale
        completed = [trial for trial in trials if trial.state is TrialState.COMPLETED and trial.number in newest]
        losses = np.array([newest[trial.number] for trial in completed])
        self.best = None if not completed else scale.sign * float(losses.min())
        ranked = sorted(trials, key=lambda trial: newest.get(trial.number, math.inf))
        self.best_points = encoding.points(trial.parameters for trial in ranked[:_NUM_BEST])
        if not completed:
            mean, _ = self._at_end([trial for trial in trials if trial.number in newest])
            self._incumbent = float(np.quantile(mean, 0.25))
        elif posterior.hyperparameters.noise > _LARGE_NOISE:
            self._incumbent = float(self._at_end(completed)[0].min())
        else:
            self._incumbent = float(scale.values(losses).min())

    @classmethod
    def of(
        cls, space: Space, objective: Objective, trials: Sequence[TrialRecord], rungs: Sequence[int], *, must_fit: bool
    ) -> CurveSurrogate | None:
        """Return the model of a study's learning curves, or None if fewer than two trials have a value.

        Args:
            space: a checked space.
            objective: the objective.
            trials: the trials of the study.
            rungs: the steps of the rungs, ascending; at the last one a trial completes.
            must_fit: whether to fit the hyperparameters to any number of trials.
        """
        encoding, last = Encoding(space), rungs[-1]
        sign = -1.0 if objective.direction == "maximize" else 1.0
        curves = {trial.number: found for trial in trials if (found := _values(trial, objective, rungs, sign))}
        if len(curves) < _MIN_TRIALS:
            return None
        newest = {number: points[-1][1] for number, points in curves.items()}
        chosen = _most_useful(curves, newest)
        by_number = {trial.number: trial for trial in trials}
        points = _points(encoding, [(by_number[number], step) for number, step, _ in chosen], last)
        losses = np.clip(np.array([loss for *_, loss in chosen]), -1e300, 1e300)
        scale = _Scale.of(losses, np.clip(np.array(list(newest.values())), -1e300, 1e300), sign)
        values = scale.values(losses)
        stored = _stored(trials, encoding)
        hyperparameters = stored or CurveHyperparameters.initial(len(encoding))
        if stored is None or must_fit or len(curves) <= _ALWAYS_FITTED:
            rows = evenly(np.argsort(values, kind="stable"), MAX_FITTED)
            hyperparameters = fit(_taken(points, rows), values[rows], encoding, hyperparameters)
        open_trials = [
            (trial, trial.run_until or last)
            for trial in trials
            if trial.state in (TrialState.RUNNING, TrialState.WAITING)
        ]
        pending = [(trial, step) for trial, step in open_trials if step > (trial.last_step or 0)]
        posterior = CurvePosterior(points, values, encoding, hyperparameters)
        if pending:
            posterior = posterior.with_pending(_points(encoding, pending, last))
        return cls(encoding, posterior, scale, trials, newest)

    def of_new(self, configurations: Points) -> Floats:
        """Return the logarithm of the expected improvement of each configuration's end, shape (configurations,)."""
        return log_expected_improvement(*self._posterior.predict(configurations, 1.0), self._incumbent)

    def of_trials(self, trials: Sequence[TrialRecord]) -> Floats:
        """Return the logarithm of the expected improvement of each trial's end, shape (trials,)."""
        return log_expected_improvement(*self._at_end(trials), self._incumbent)

    def expected(self, trial: TrialRecord) -> Expectation:
        """Return what a trial is expected to end at."""
        return self._expectation(*self._at_end([trial]))

    def expected_of_new(self, configuration: Points) -> Expectation:
        """Return what a new trial of one configuration is expected to end at."""
        return self._expectation(*self._posterior.predict(configuration, 1.0))

    def notes(self) -> dict[str, Any]:
        """Return the hyperparameters for the notes of the suggestion."""
        vector = self._posterior.hyperparameters.vector().tolist()
        return {NOTE: {"parameters": self.encoding.names, "hyperparameters": vector}}

    def _at_end(self, trials: Sequence[TrialRecord]) -> tuple[Floats, Floats]:
        configurations = self.encoding.points(trial.parameters for trial in trials)
        return self._posterior.predict(configurations, 1.0, np.array([trial.number for trial in trials], np.int64))

    def _expectation(self, mean: Floats, deviation: Floats) -> Expectation:
        centre, spread = float(mean[0]), 1.2816 * float(deviation[0])
        return Expectation(*(self._scale.original(each) for each in (centre, centre - spread, centre + spread)))


def _values(trial: TrialRecord, objective: Objective, rungs: Sequence[int], sign: float) -> list[tuple[int, float]]:
    """Return (step, loss) of a trial: at its newest rungs and at its newest step; empty if it teaches nothing."""
    if trial.infeasible or trial.state in _WITHOUT_VALUE or trial.last_step is None:
        return []
    reached = trial.last_step
    steps = sorted({step for step in (_EARLY_STEP, *rungs) if step <= reached} | {reached})[-_STEPS_PER_TRIAL:]
    found = []
    for step in steps:
        value = final_value(objective, tuple(point for point in trial.series if point[0] <= step))
        if value is not None and math.isfinite(value):
            found.append((step, sign * value))
    return found


def _most_useful(
    curves: Mapping[int, list[tuple[int, float]]], newest: Mapping[int, float]
) -> list[tuple[int, int, float]]:
    """Return (trial, step, loss) of at most `_MAX_VALUES` values: whole curves of the best, one value of the others."""
    total = sum(map(len, curves.values()))
    ranked = sorted(curves, key=lambda number: (newest[number], number))
    whole = set(ranked if total <= _MAX_VALUES else ranked[: _MAX_VALUES // (2 * _STEPS_PER_TRIAL)])
    chosen = [
        (number, *point) for number in ranked for point in (curves[number] if number in whole else curves[number][-1:])
    ]
    if len(chosen) > _MAX_VALUES:
        num_whole = sum(len(curves[number]) for number in whole)
        rest = evenly(np.arange(num_whole, len(chosen)), _MAX_VALUES - num_whole)
        chosen = [*chosen[:num_whole], *(chosen[row] for row in rest)]
    return chosen


def _points(encoding: Encoding, places: Sequence[tuple[TrialRecord, int]], last: int) -> CurvePoints:
    """Return (trial, step) pairs as points of the model."""
    return CurvePoints(
        encoding.points(trial.parameters for trial, _ in places),
        step_position(np.array([step for _, step in places], float), last),
        np.array([trial.number for trial, _ in places], np.int64),
    )


def _taken(points: CurvePoints, rows: Any) -> CurvePoints:
    return CurvePoints(points.configurations.take(rows), points.positions[rows], points.trials[rows])


def _stored(trials: Sequence[TrialRecord], encoding: Encoding) -> CurveHyperparameters | None:
    """Return the hyperparameters in the newest suggestion's notes, unless its space had other parameters."""
    for trial in reversed(trials):
        note = trial.notes.get(NOTE)
        if isinstance(note, Mapping) and note.get("parameters") == encoding.names:
            return CurveHyperparameters.of(np.array(note["hyperparameters"]))
    return None
