"""Quasi-random search with Optuna's scrambled Halton or Sobol sequence; a point's index is the trial's number."""

from __future__ import annotations

from service.contract.space import Space
from service.domain.history import History, Suggestion
from service.search.samplers.base import Sampler, before
from service.search.space.sampling import configuration, sample_unseen


class QmcSampler(Sampler):
    """Quasi-random search with a sequence of Optuna, "halton" or "sobol"."""

    def __init__(self, space: Space, sequence: str) -> None:
        self._space = space
        self._sequence = sequence

    def suggest(self, history: History, number: int, seed: int) -> Suggestion:
        from service.search.optuna_bridge.qmc import qmc_point  # noqa: PLC0415 - loads scipy

        point = configuration(self._space, qmc_point(sorted(self._space), self._sequence, number, seed))
        parameters, redraws = sample_unseen(self._space, before(history, number), number, seed, first=point)
        instead = ", replaced by a random draw because an earlier trial had it before" if redraws else ""
        return Suggestion(parameters, f"qmc: point {number} of the {self._sequence} sequence{instead}")
