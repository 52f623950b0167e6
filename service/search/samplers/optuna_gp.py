"""Optuna's Gaussian process sampler: Sobol points first, then the model, or TPE if the model does not suit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from service.contract.base import Direction
from service.contract.space import ConstantParameter, NumericParameter, Space
from service.domain.history import History, Suggestion, TrialRecord
from service.domain.parameter import values_of
from service.search.observations import losses
from service.search.optional_deps import has_extra
from service.search.samplers import tpe
from service.search.samplers.base import Sampler, before
from service.search.seeds import derive
from service.search.space.sampling import sample_unseen, sobol_sample
from service.search.space.transform import scaled_names
from service.search.warm_start import active_prior_trials

MAX_OBSERVATIONS = 200
"""Largest number of observations for the model.

Its cost grows with the cube of this number, while TPE's advantage over random search grows with the number.
"""

MAX_VALUES = 100_000
"""Largest number of values of an integer or stepped parameter, because the model lists them for each suggestion."""


class OptunaGpSampler(Sampler):
    """Gaussian process with expected improvement for the unconditional parameters; TPE decides the other ones."""

    def __init__(self, space: Space, direction: Direction, startup_trials: int) -> None:
        self._space = space
        self._direction = direction
        self._startup_trials = startup_trials
        self._names = [
            name for name in sorted(space) if not space[name].when and not isinstance(space[name], ConstantParameter)
        ]

    def suggest(self, history: History, number: int, seed: int) -> Suggestion:
        trials, earlier = before(history, number), active_prior_trials(history, number)
        known = {each: loss for each, (loss,) in losses((*earlier, *trials), (self._direction,)).items()}
        if len(known) < self._startup_trials:
            parameters, _ = sample_unseen(
                self._space, trials, number, seed, first=sobol_sample(self._space, number, seed)
            )
            so_far = f"{len(known)} of {self._startup_trials} trials to learn from"
            return Suggestion(parameters, f"gp startup: point {number} of Sobol's sequence, {so_far}")
        if obstacle := gp_unavailable_reason(self._space, len(known)):
            instead = tpe.propose(
                self._space, (self._direction,), trials, number, seed, startup_trials=0, earlier=earlier
            )
            return Suggestion(instead.parameters, f"gp: tpe suggested this one, because {obstacle}; {instead.reason}")
        made = self._model((*earlier, *trials), known, number, seed)
        return replace(made, reason=f"{made.reason}; {len(earlier)} of them of other studies") if earlier else made

    def _model(self, trials: Sequence[TrialRecord], known: dict[int, float], number: int, seed: int) -> Suggestion:
        from service.search.optuna_bridge.gp import suggest_gp  # noqa: PLC0415 - loads torch and scipy

        fixed = suggest_gp(self._space, self._names, trials, known, derive(seed, "gp", number))
        others = len(self._space) - len(fixed)
        also = f"; {others} others by tpe" if others else ""
        reason = f"gp: expected improvement by a Gaussian process of {len(known)} trials{also}"
        return Suggestion(
            tpe.fill_in(self._space, (self._direction,), trials, number=number, seed=seed, fixed=fixed), reason
        )


def gp_unavailable_reason(space: Space, num_observations: int) -> str | None:
    """Return why a Gaussian process does not suit the space or the number of observations, or None if it does."""
    if not has_extra("gp"):
        return "this service lacks the extra gp"
    if num_observations > MAX_OBSERVATIONS:
        return f"{num_observations} trials are more than the {MAX_OBSERVATIONS} that it is fast with"
    for name, parameter in space.items():
        if isinstance(parameter, NumericParameter) and (values := values_of(parameter)) and len(values) > MAX_VALUES:
            return f"{name} has {len(values)} values, more than the {MAX_VALUES} that it can list"
    searched = [each for each in space.values() if not isinstance(each, ConstantParameter)]
    num_scaled = len(scaled_names(space))
    if num_scaled * 2 <= len(searched):
        return f"only {num_scaled} of {len(searched)} parameters are numbers that always exist"
    return None
