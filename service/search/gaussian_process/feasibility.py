"""The model of which trials end with a value, and how many trials the models hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from service.domain.history import TrialRecord
from service.search.gaussian_process.encoding import Encoding, Floats, Points
from service.search.gaussian_process.regression import Hyperparameters, Posterior, fit

MAX_OBSERVATIONS = 400
"""Largest number of observations in a model, because its cost grows with the cube of this number."""

MAX_FITTED = 120
"""Largest number of observations that the hyperparameters are fitted to. More change them little."""

Rows = NDArray[np.intp]


class Feasibility:
    """The probability that a trial ends with a value, by regression on labels 1 and 0 (Rasmussen & Williams, 6.5).

    A point is feasible with the probability that the model's value there is above 1/2.
    """

    def __init__(self, posterior: Posterior, threshold: float, num_infeasible: int) -> None:
        self.hyperparameters = posterior.hyperparameters
        self.num_infeasible = num_infeasible
        self._posterior = posterior
        self._threshold = threshold

    @classmethod
    def of(
        cls,
        encoding: Encoding,
        trials: Sequence[TrialRecord],
        feasible: Rows,
        infeasible: Rows,
        stored: tuple[Hyperparameters, Hyperparameters | None] | None,
        *,
        must_fit: bool,
    ) -> Feasibility | None:
        """Return the model, or None if no trial was infeasible."""
        if not len(infeasible):
            return None
        rows = np.concatenate([infeasible[-MAX_OBSERVATIONS // 2 :], feasible[-MAX_OBSERVATIONS // 2 :]])
        labels = np.isin(rows, feasible).astype(float)
        share, width = float(labels.mean()), float(labels.std())
        points, values = points_of(encoding, trials, rows), (labels - share) / width
        known = None if stored is None else stored[1]
        hyperparameters = known or Hyperparameters.initial(len(encoding))
        if must_fit or known is None:
            fitted = evenly(np.arange(len(rows)), MAX_FITTED)
            hyperparameters = fit(points.take(fitted), values[fitted], encoding, hyperparameters)
        threshold = (0.5 - share) / width
        return cls(Posterior(points, values, encoding, hyperparameters), threshold, len(infeasible))

    def log_probability(self, points: Points) -> Floats:
        """Return the logarithm of the probability at each point, shape (points,)."""
        mean, deviation = self._posterior.predict(points)
        log_probability: Floats = log_ndtr((mean - self._threshold) / deviation)
        return log_probability


def evenly(ranked: Rows, num: int) -> Rows:
    """Return at most `num` of the rows, evenly spaced, with the first and the last."""
    if len(ranked) <= num:
        return ranked
    spaced: Rows = ranked[np.linspace(0, len(ranked) - 1, num).round().astype(int)]
    return spaced


def points_of(encoding: Encoding, trials: Sequence[TrialRecord], rows: Rows) -> Points:
    return encoding.points(trials[row].parameters for row in rows)
