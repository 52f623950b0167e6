"""The models behind a suggestion, from the trials of a study: one of the objective, one of feasibility."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.base import Direction
from service.contract.space import Space
from service.domain.history import TrialRecord
from service.search.gaussian_process.acquisition import log_expected_improvement
from service.search.gaussian_process.encoding import Encoding, Floats, Points
from service.search.gaussian_process.feasibility import (
    MAX_FITTED,
    MAX_OBSERVATIONS,
    Feasibility,
    Rows,
    evenly,
    points_of,
)
from service.search.gaussian_process.regression import Hyperparameters, Posterior, fit
from service.search.observations import ObservationKind
from service.search.trial_matrix import TrialMatrix

NOTE = "gp"
"""Name of the note that holds the hyperparameters of a suggestion's models."""

_MIN_VALUES = 2

_NUM_BEST = 4

_MIN_FEASIBILITY = 0.25
"""Probability of being feasible below which a point is suggested only if there is no other."""

_LAST_RESORT = 1e6


@dataclass(frozen=True, slots=True)
class _Scale:
    """How losses become values with mean 0 and variance 1."""

    sign: float
    centre: float
    width: float

    def original(self, value: float) -> float:
        """Return a model's value in the units of the objective."""
        return self.sign * (value * self.width + self.centre)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model expects of a configuration, in the units of the objective."""

    mean: float
    deviation: float
    feasibility: float
    """Probability that the trial ends with a value."""


class Surrogate:
    """Gaussian processes of the objective and of feasibility, given the trials of a study.

    Attributes:
        encoding: the encoding of the space.
        num_values: number of observed values in the model.
        num_infeasible: number of infeasible trials in the model.
        num_pending: number of open trials, which count as if they ended as predicted.
    """

    def __init__(
        self,
        encoding: Encoding,
        objective: Posterior,
        feasibility: Feasibility | None,
        scale: _Scale,
        pending: Points,
    ) -> None:
        self.encoding = encoding
        self.num_values = len(objective.values)
        self.num_infeasible = 0 if feasibility is None else feasibility.num_infeasible
        self.num_pending = len(pending)
        self._hyperparameters = objective.hyperparameters
        self._objective = objective.with_pending(pending)
        expected = self._objective.mean(self._objective.points)
        self._incumbent = float(expected.min())
        self.best_points = self._objective.points.take(np.argsort(expected, kind="stable")[:_NUM_BEST])
        self._feasibility = feasibility
        self._scale = scale

    @classmethod
    def of(
        cls, space: Space, direction: Direction, trials: Sequence[TrialRecord], matrix: TrialMatrix, number: int
    ) -> Surrogate | None:
        """Return the models for a suggestion, or None if fewer than two trials have a value.

        Args:
            space: a checked space.
            direction: direction of the objective.
            trials: prior trials, then those with numbers below `number`.
            matrix: the same trials as arrays.
            number: number of the trial to suggest. It decides with the number of trials whether to fit anew.
        """
        encoding = Encoding(space)
        is_known = ~np.isnan(matrix.coordinates).any(axis=1)
        losses, has_value = _losses(matrix, direction)
        valued = np.flatnonzero(is_known & has_value)
        if len(valued) < _MIN_VALUES:
            return None
        valued = _most_useful(valued, losses)
        stored = _stored(trials, encoding)
        must_fit = _must_fit(len(valued), number) or stored is None
        values, scale = _standardised(losses[valued], direction)
        points = points_of(encoding, trials, valued)
        start = Hyperparameters.initial(len(encoding)) if stored is None else stored[0]
        fitted = evenly(np.argsort(values, kind="stable"), MAX_FITTED)
        hyperparameters = fit(points.take(fitted), values[fitted], encoding, start) if must_fit else start
        infeasible = np.flatnonzero(is_known & (matrix.roles == ObservationKind.INFEASIBLE))
        feasibility = Feasibility.of(encoding, trials, valued, infeasible, stored, must_fit=must_fit)
        pending = np.flatnonzero(is_known & (matrix.roles == ObservationKind.OPEN))
        return cls(
            encoding,
            Posterior(points, values, encoding, hyperparameters),
            feasibility,
            scale,
            points_of(encoding, trials, pending[-MAX_OBSERVATIONS:]),
        )

    def acquisition(self, points: Points) -> Floats:
        """Return the logarithm of expected improvement times the probability of being feasible, shape (points,).

        Points that are probably infeasible come after all others, however large their improvement would be.
        """
        score = log_expected_improvement(*self._objective.predict(points), self._incumbent)
        if self._feasibility is None:
            return score
        log_probability = self._feasibility.log_probability(points)
        return score + log_probability - _LAST_RESORT * (log_probability < math.log(_MIN_FEASIBILITY))

    @property
    def noise_share(self) -> float:
        """Variance of the noise as a share of the variance of the observed values, squeezed."""
        return self._hyperparameters.noise

    def prediction(self, point: Points) -> Prediction:
        """Return what the model expects of one point."""
        mean, deviation = self._objective.predict(point)
        probability = 1.0 if self._feasibility is None else float(np.exp(self._feasibility.log_probability(point)[0]))
        return Prediction(
            self._scale.original(float(mean[0])), abs(float(deviation[0]) * self._scale.width), probability
        )

    def notes(self) -> dict[str, Any]:
        """Return the hyperparameters for the notes of the suggestion."""
        feasibility = None if self._feasibility is None else self._feasibility.hyperparameters
        return {
            NOTE: {
                "parameters": self.encoding.names,
                "objective": self._hyperparameters.vector().tolist(),
                "feasibility": None if feasibility is None else feasibility.vector().tolist(),
            }
        }


def _losses(matrix: TrialMatrix, direction: Direction) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the loss of each trial, where smaller is better, and which trials have one."""
    roles, values = matrix.roles, matrix.values[:, 0]
    is_pruned = (roles == ObservationKind.PRUNED) & (matrix.steps >= 0)
    has_value = ((roles == ObservationKind.COMPLETED) | is_pruned) & np.isfinite(values)
    return (-values if direction == "maximize" else values), has_value


def _standardised(losses: Floats, direction: Direction) -> tuple[Floats, _Scale]:
    """Return losses with mean 0 and variance 1, squeezed above the median.

    What is worse than the median by more than the best is better counts as that, so that bad trials, whose losses may
    be any number, do not dominate the model.
    """
    # Half of the largest float is too large for the sums below.
    bounded = np.clip(losses, -1e300, 1e300)
    median, best = float(np.median(bounded)), float(bounded.min())
    squeezed = np.minimum(bounded, median + (median - best))
    largest = float(np.abs(squeezed).max()) or 1.0
    centre = float((squeezed / largest).mean()) * largest
    width = float((squeezed / largest).std()) * largest or 1.0
    scale = _Scale(-1.0 if direction == "maximize" else 1.0, centre, width)
    return (squeezed - centre) / width, scale


def _most_useful(rows: Rows, losses: Floats) -> Rows:
    """Return at most `MAX_OBSERVATIONS` rows: half of them the best ones, half the newest of the others."""
    if len(rows) <= MAX_OBSERVATIONS:
        return rows
    ranked = rows[np.argsort(losses[rows], kind="stable")]
    best, others = ranked[: MAX_OBSERVATIONS // 2], np.sort(ranked[MAX_OBSERVATIONS // 2 :])
    kept: Rows = np.concatenate([best, others[-MAX_OBSERVATIONS // 2 :]])
    return np.sort(kept)


def _must_fit(num_values: int, number: int) -> bool:
    """Return whether to fit the hyperparameters anew: always to few trials, and then ever less often."""
    if num_values <= 30:
        return True
    return number % (3 if num_values <= 100 else 10) == 0


def _stored(trials: Sequence[TrialRecord], encoding: Encoding) -> tuple[Hyperparameters, Hyperparameters | None] | None:
    """Return the hyperparameters in the newest suggestion's notes, unless its space had other parameters."""
    for trial in reversed(trials):
        note = trial.notes.get(NOTE)
        if isinstance(note, Mapping) and note.get("parameters") == encoding.names:
            feasibility = note["feasibility"]
            return (
                Hyperparameters.of(np.array(note["objective"])),
                None if feasibility is None else Hyperparameters.of(np.array(feasibility)),
            )
    return None
