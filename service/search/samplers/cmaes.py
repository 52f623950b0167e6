"""The CMA-ES sampler: recomputes its state from the notes of the trials, so that no state is stored or unpickled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from service.contract.base import Direction, Value
from service.contract.problem import FieldError
from service.contract.space import Space
from service.domain.history import History, Suggestion, TrialRecord
from service.domain.parameter import contains
from service.search.observations import losses
from service.search.samplers.base import Sampler, before
from service.search.samplers.tpe import fill_in
from service.search.seeds import derive
from service.search.space.transform import from_unit, scaled_names, to_unit

if TYPE_CHECKING:
    from cmaes import CMA

_GENERATION = "generation"
"""Name of the note that holds the generation for which a trial was drawn."""

_TOLD = "told"
"""Name of the note on a generation's first trial that holds the numbers of the trials that produced the generation."""

_SPREAD = 1 / 6
"""Standard deviation of the first generation, as a fraction of the unit cube's width. Optuna's default."""


class CmaEsSampler(Sampler):
    """Covariance matrix adaptation (Hansen 2016) in the unit cube of the ordered, unconditional parameters.

    A generation ends when as many of its trials have ended as the population size. Trials that parallel workers drew
    beyond that number are ignored. TPE decides the other parameters.
    """

    def __init__(self, space: Space, direction: Direction) -> None:
        self._space = space
        self._direction = direction
        self._names = scaled_names(space)

    def suggest(self, history: History, number: int, seed: int) -> Suggestion:
        trials = before(history, number)
        # The seed affects only the point drawn below. The replayed generations do not depend on it.
        strategy = self._begun(derive(seed, "cmaes", number))
        by_number = {trial.number: trial for trial in trials if self._is_inside(trial.parameters)}
        ranks = self._ranks(trials)
        for trial in trials:
            if used := trial.notes.get(_TOLD):
                self._tell(strategy, [by_number[each] for each in used if each in by_number and each in ranks], ranks)
        current = [
            trial
            for trial in by_number.values()
            if trial.notes.get(_GENERATION) == strategy.generation and trial.number in ranks
        ]
        notes: dict[str, Any] = {}
        if len(current) >= strategy.population_size:
            parents = current[: strategy.population_size]
            self._tell(strategy, parents, ranks)
            notes[_TOLD] = [trial.number for trial in parents]
        notes[_GENERATION] = strategy.generation
        fixed = {
            name: from_unit(self._space[name], unit)
            for name, unit in zip(self._names, strategy.ask().tolist(), strict=True)
        }
        others = len(self._space) - len(fixed)
        also = f"; {others} others by tpe" if others else ""
        reason = f"cmaes: generation {strategy.generation} of {strategy.population_size} trials each{also}"
        return Suggestion(
            fill_in(self._space, (self._direction,), trials, number=number, seed=seed, fixed=fixed),
            reason,
            notes=notes,
        )

    def _begun(self, seed: int) -> CMA:
        import numpy as np  # noqa: PLC0415 - imported only when CMA-ES is used
        from cmaes import CMA  # noqa: PLC0415

        num = len(self._names)
        bounds = np.array([[0.0, 1.0]] * num)
        return CMA(mean=np.full(num, 0.5), sigma=_SPREAD, bounds=bounds, n_max_resampling=10 * num, seed=seed)

    def _ranks(self, trials: Sequence[TrialRecord]) -> dict[int, float]:
        """Return trial number -> rank among all observations; ranks instead of values make outliers harmless."""
        found = losses(trials, (self._direction,))
        return {number: float(place) for place, number in enumerate(sorted(found, key=lambda each: found[each]))}

    def _tell(self, strategy: CMA, parents: Sequence[TrialRecord], ranks: Mapping[int, float]) -> None:
        if len(parents) != strategy.population_size:
            return  # The space was edited since: some parents lie outside, or the space has other dimensions.
        import numpy as np  # noqa: PLC0415

        def place(trial: TrialRecord) -> list[float]:
            return [to_unit(self._space[name], trial.parameters[name]) for name in self._names]

        strategy.tell([(np.array(place(trial)), ranks[trial.number]) for trial in parents])

    def _is_inside(self, parameters: Mapping[str, Value]) -> bool:
        return all(name in parameters and contains(self._space[name], parameters[name]) for name in self._names)


def check_cmaes(space: Space) -> list[FieldError]:
    """Check that CMA-ES can search a space: it needs at least two ordered, unconditional parameters."""
    num = len(scaled_names(space))
    if num >= 2:
        return []
    message = (
        f"optuna:cmaes needs two numbers (or ordered choices) without a condition, and this space has {num}; "
        "write sampler: tpe, or ordered: true where choices have an order"
    )
    return [FieldError(path="sampler.name", message=message)]
