"""The default sampler: selects another sampler by space, budget and observations, and gives the reason."""

from __future__ import annotations

from collections.abc import Sequence

from service.contract.base import Directions
from service.contract.space import ConstantParameter, NumericParameter, Space
from service.domain.finite_space import num_configurations
from service.domain.history import History, Suggestion, TrialRecord
from service.search.observations import is_observation
from service.search.samplers.base import Sampler, before
from service.search.samplers.gp import GpSampler
from service.search.samplers.grid import GridSampler
from service.search.samplers.nsga2 import NsgaIiSampler
from service.search.samplers.sobol import SobolSampler
from service.search.samplers.tpe import propose
from service.search.warm_start import active_prior_trials

_STARTUP_TRIALS = 10
"""Number of Sobol points with several objectives. A budget of at most this many trials is too small for a model."""

_ENOUGH_FOR_GENERATIONS = 1000
"""Budget from which a multi-objective study uses NSGA-II.

So many trials allow enough generations, and TPE's sorting by Pareto fronts becomes expensive.
"""

_POPULATION = 50
"""Population size of NSGA-II, the same as the default of the `optuna:nsga2` sampler."""

_MOST_OBSERVATIONS = 400
"""Number of observations above which a Gaussian process would no longer hold all of them."""

_MOST_DIMENSIONS = 60
"""Largest number of parameters for which the Gaussian process was measured."""

_BY = "auto"
"""Name of the note that distinguishes grid cells ("grid") from points of a sequence or a model ("model")."""


class AutoSampler(Sampler):
    """Delegates to the sampler that suits the space, the budget and the observations.

    It uses a grid if the budget covers the space. With one objective the model is otherwise a Gaussian process, from
    the fifth trial on: its regret is below that of TPE on smooth, mixed and conditional test functions, and level with
    it on noisy ones (benchmarks/results/search.md). TPE takes over where the Gaussian process would be slow. With
    several objectives the model is NSGA-II if the budget allows many generations, else TPE after some Sobol points.

    Args:
        space: a checked space.
        directions: direction of each objective.
        budget: number of trials in the budget, None if it has no limit.
    """

    def __init__(self, space: Space, directions: Directions, budget: int | None) -> None:
        self._space = space
        self._directions = directions
        self._budget = budget
        num_cells = num_configurations(space)
        is_covered = num_cells is not None and budget is not None and num_cells <= budget
        self._grid = GridSampler(_without_points(space), shuffle=True) if is_covered else None

    def suggest(self, history: History, number: int, seed: int) -> Suggestion:
        trials = before(history, number)
        made, why = self._made(history, trials, number, seed)
        by = {_BY: "grid" if self._grid_goes_on(trials) else "model"}
        return Suggestion(made.parameters, f"auto: {why}; {made.reason}", notes={**made.notes, **by})

    def remaining(self, history: History) -> int | None:
        return self._grid.remaining(history) if self._grid and self._grid_goes_on(history.trials) else None

    def _made(self, history: History, trials: Sequence[TrialRecord], number: int, seed: int) -> tuple[Suggestion, str]:
        """Return the suggestion of the selected sampler, and why it was selected."""
        if self._grid and self._grid_goes_on(trials):
            why = f"the budget of {self._budget} covers all {self._grid.size} configurations"
            return self._grid.suggest(history, number, seed), why
        earlier = active_prior_trials(history, number)
        num_observations = len(earlier) + sum(map(is_observation, trials))
        if len(self._directions) > 1:
            return self._made_for_several(history, trials, number, seed, num_observations)
        if (obstacle := self._gp_unavailable_reason(num_observations)) is None:
            return GpSampler(self._space, self._directions[0]).suggest(history, number, seed), "the default model"
        made = propose(
            self._space, self._directions, trials, number, seed, startup_trials=_STARTUP_TRIALS, earlier=earlier
        )
        return made, f"tpe, as {obstacle}"

    def _made_for_several(
        self, history: History, trials: Sequence[TrialRecord], number: int, seed: int, num_observations: int
    ) -> tuple[Suggestion, str]:
        """Return the suggestion of the sampler that suits several objectives, and why it was selected."""
        if self._budget is not None and self._budget <= _STARTUP_TRIALS:
            made = SobolSampler(self._space).suggest(history, number, seed)
            return made, f"{self._budget} trials are too few for a model"
        if self._budget is not None and self._budget >= _ENOUGH_FOR_GENERATIONS:
            why = f"nsga2, as {len(self._directions)} objectives and {self._budget} trials leave time for generations"
            return NsgaIiSampler(self._space, self._directions, _POPULATION).suggest(history, number, seed), why
        if num_observations < _STARTUP_TRIALS:
            why = f"{num_observations} of {_STARTUP_TRIALS} trials to learn from"
            return SobolSampler(self._space).suggest(history, number, seed), why
        made = propose(self._space, self._directions, trials, number, seed, startup_trials=0)
        return made, f"tpe, as there are {len(self._directions)} objectives"

    def _grid_goes_on(self, trials: Sequence[TrialRecord]) -> bool:
        """Return whether a grid is used: the budget covers the space and no other sampler has begun.

        If the budget is raised later, the search does not switch to a grid, whose cells would partly be tried already.
        """
        return self._grid is not None and all(trial.notes.get(_BY) != "model" for trial in trials)

    def _gp_unavailable_reason(self, num_observations: int) -> str | None:
        num_searched = sum(not isinstance(each, ConstantParameter) for each in self._space.values())
        if num_searched > _MOST_DIMENSIONS:
            return f"{num_searched} parameters are many for a Gaussian process"
        if num_observations > _MOST_OBSERVATIONS:
            return f"{num_observations} trials are many for a Gaussian process"
        return None


def _without_points(space: Space) -> Space:
    """Return the space without `points`, so that a grid covers all its configurations."""
    return {
        name: each.model_copy(update={"points": None}) if isinstance(each, NumericParameter) else each
        for name, each in space.items()
    }
