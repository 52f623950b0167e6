"""The NSGA-II sampler: generations of children, with the parents recorded only in the notes of later trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from service.contract.base import Directions, Value
from service.contract.space import ConstantParameter, Space
from service.domain.history import History, Suggestion, TrialRecord
from service.domain.parameter import contains
from service.domain.pareto import LossVector
from service.search.observations import ObservationKind, losses, observation_kind
from service.search.samplers.base import Sampler, before
from service.search.seeds import derive
from service.search.space.sampling import sample, sample_unseen
from service.search.space.transform import from_unit, to_unit

_GENERATION = "generation"
"""Name of the note that holds the generation for which a trial was drawn; a trial without it belongs to the first."""

_PARENTS = "parents"
"""Name of the note on a generation's first trial that holds the numbers of the generation's parents."""


class NsgaIiSampler(Sampler):
    """A genetic algorithm that selects parents by non-domination rank and crowding distance (Deb et al. 2002).

    A generation ends when as many of its trials have ended as the population size. Children inherit the unconditional
    parameters. Conditional parameters and mutated ones are sampled at random.
    """

    def __init__(self, space: Space, directions: Directions, population: int) -> None:
        self._space = space
        self._directions = directions
        self._population = population
        self._names = [
            name for name in sorted(space) if not space[name].when and not isinstance(space[name], ConstantParameter)
        ]

    def suggest(self, history: History, number: int, seed: int) -> Suggestion:
        trials = before(history, number)
        beaten = (math.inf,) * len(self._directions)
        points = {
            each: beaten if observation_kind(trials[each]) is ObservationKind.INFEASIBLE else point
            for each, point in losses(trials, self._directions).items()
        }
        generation = max((trial.notes.get(_GENERATION, 0) for trial in trials), default=0)
        parents: list[int] = next((trial.notes[_PARENTS] for trial in reversed(trials) if _PARENTS in trial.notes), [])
        ended = [
            trial.number for trial in trials if trial.number in points and trial.notes.get(_GENERATION, 0) == generation
        ]
        notes: dict[str, Any] = {}
        if len(ended) >= self._population:
            parents = self._survivors({each: points[each] for each in (*parents, *ended) if each in points})
            generation += 1
            notes[_PARENTS] = parents
        notes[_GENERATION] = generation
        born, reason = self._born(trials, points, parents, number, seed)
        parameters, redraws = sample_unseen(self._space, trials, number, seed, first=born)
        instead = ", replaced by a random draw because an earlier trial had it before" if redraws else ""
        return Suggestion(parameters, f"nsga2: generation {generation}, {reason}{instead}", notes=notes)

    def _survivors(self, points: Mapping[int, LossVector]) -> list[int]:
        from service.search.optuna_bridge.nsga2 import survivors  # noqa: PLC0415 - loads Optuna

        return survivors(points, self._population)

    def _born(
        self,
        trials: Sequence[TrialRecord],
        points: Mapping[int, LossVector],
        parents: Sequence[int],
        number: int,
        seed: int,
    ) -> tuple[dict[str, Value], str]:
        """Return a child of the parents, or a random draw if there are fewer than two; and a description of it."""
        places = {
            each: self._place(trials[each]) for each in parents if each in points and self._is_inside(trials[each])
        }
        if len(places) < 2 or not self._names:
            return sample(self._space, seed, number), "a uniform draw, because there are no parents yet"
        from service.search.optuna_bridge.nsga2 import child_of  # noqa: PLC0415 - loads Optuna

        child = child_of(places, points, derive(seed, "nsga2", number))
        inherited = {name: from_unit(self._space[name], unit) for name, unit in child.items()}
        return sample(self._space, seed, number, fixed=inherited), f"a child of {len(places)} parents"

    def _place(self, trial: TrialRecord) -> dict[str, float]:
        return {name: to_unit(self._space[name], trial.parameters[name]) for name in self._names}

    def _is_inside(self, trial: TrialRecord) -> bool:
        """Return whether the trial has a valid value of each inherited parameter; the space may have been edited."""
        return all(
            name in trial.parameters and contains(self._space[name], trial.parameters[name]) for name in self._names
        )
