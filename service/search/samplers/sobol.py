"""Quasi-random search with the Sobol sequence, which covers the space more evenly than random search."""

from __future__ import annotations

from service.contract.space import Space
from service.domain.history import History, Suggestion
from service.search.samplers.base import Sampler, before
from service.search.space.sampling import sample_unseen, sobol_sample


class SobolSampler(Sampler):
    """Quasi-random search (Sobol 1967, scrambled as in Owen 1995).

    The index of a point is the trial's number. In a finite space no configuration is repeated while a new one is left.
    """

    def __init__(self, space: Space) -> None:
        self._space = space

    def suggest(self, history: History, number: int, seed: int) -> Suggestion:
        point = sobol_sample(self._space, number, seed)
        parameters, redraws = sample_unseen(self._space, before(history, number), number, seed, first=point)
        instead = ", replaced by a random draw because an earlier trial had it before" if redraws else ""
        return Suggestion(parameters, f"sobol: point {number} of the sequence{instead}")
