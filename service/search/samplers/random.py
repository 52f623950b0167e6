"""Random search: independent uniform draws on each parameter's scale, without repeats in a finite space."""

from __future__ import annotations

from service.contract.space import Space
from service.domain.history import History, Suggestion
from service.search.samplers.base import Sampler, before
from service.search.space.sampling import sample_unseen


class RandomSampler(Sampler):
    """Random search (Bergstra & Bengio 2012)."""

    def __init__(self, space: Space) -> None:
        self._space = space

    def suggest(self, history: History, number: int, seed: int) -> Suggestion:
        parameters, redraws = sample_unseen(self._space, before(history, number), number, seed)
        again = f", draw {redraws + 1} because earlier trials had those before" if redraws else ""
        return Suggestion(parameters, f"random: a uniform draw from the whole space{again}")
