"""The Gaussian process sampler: the centre of the space, three Sobol points, then the largest expected improvement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from service.contract.base import Direction, Value
from service.contract.space import ConstantParameter, Space
from service.domain.history import History, Suggestion, TrialRecord
from service.search.observations import is_observation
from service.search.samplers.base import Sampler, before
from service.search.seeds import derive, make_rng
from service.search.space.sampling import configuration, sample_unseen, sobol_sample
from service.search.space.transform import is_unordered
from service.search.warm_start import active_prior_trials

if TYPE_CHECKING:
    from service.search.gaussian_process.surrogate import Prediction, Surrogate

STARTUP_TRIALS = 4
"""Number of observations from which the model is used: the centre of the space and three Sobol points."""

_LARGE_NOISE = 0.1
"""Share of the noise in the variance of the values above which some suggestions ignore the model.

With such noise the improvement that the model expects near its best region is mostly chance, and it would go on
sampling there.
"""

_EXPLORATION_PERIOD = 4
"""With large noise, each suggestion whose number this divides is a Sobol point."""


class GpSampler(Sampler):
    """Expected improvement under a Gaussian process over numbers, choices and conditional parameters alike.

    Each suggestion stores the model's hyperparameters in its notes, and the next fit starts there. So a suggestion
    depends on the history alone, also after a restart and on another replica.

    Args:
        space: a checked space.
        direction: direction of the only objective.
    """

    def __init__(self, space: Space, direction: Direction) -> None:
        self._space = space
        self._direction = direction

    def suggest(self, history: History, number: int, seed: int) -> Suggestion:
        trials, earlier = before(history, number), active_prior_trials(history, number)
        num_observations = len(earlier) + sum(map(is_observation, trials))
        if num_observations < STARTUP_TRIALS:
            return self._sobol(
                "startup", trials, number, seed, f"{num_observations} of {STARTUP_TRIALS} trials to learn from"
            )
        if all(isinstance(parameter, ConstantParameter) for parameter in self._space.values()):
            return self._sobol("startup", trials, number, seed, "as every parameter is constant")
        # Loads NumPy and SciPy.
        from service.search.gaussian_process.surrogate import Surrogate  # noqa: PLC0415
        from service.search.trial_matrix import trial_matrix_of  # noqa: PLC0415

        every = (*earlier, *trials)
        matrix = trial_matrix_of(self._space, every)
        surrogate = Surrogate.of(self._space, self._direction, every, matrix, number)
        if surrogate is None:
            return self._sobol("startup", trials, number, seed, "as too few trials have ended with a value")
        if surrogate.noise_share > _LARGE_NOISE and number % _EXPLORATION_PERIOD == 0:
            why = f"because noise is {surrogate.noise_share:.0%} of the variance of the values"
            return replace(self._sobol("exploration", trials, number, seed, why), notes=surrogate.notes())
        for candidate in _candidates(surrogate, derive(seed, "gp candidates", number)):
            if not matrix.contains(self._space, candidate.parameters, since=len(earlier)):
                reason = _reason(surrogate, candidate, len(earlier))
                return Suggestion(candidate.parameters, reason, notes=surrogate.notes())
        parameters, _ = sample_unseen(self._space, trials, number, seed)
        why = "gp: a random configuration, because all candidates of the model were tried before"
        return Suggestion(parameters, why, notes=surrogate.notes())

    def _sobol(self, what: str, trials: Sequence[TrialRecord], number: int, seed: int, why: str) -> Suggestion:
        """Return a Sobol point, or for trial 0 the centre of the space."""
        parameters, where = startup_point(self._space, trials, number, seed)
        return Suggestion(parameters, f"gp {what}: {where}, {why}")


def startup_point(space: Space, trials: Sequence[TrialRecord], number: int, seed: int) -> tuple[dict[str, Value], str]:
    """Return a configuration that needs no model, and which one it is: a Sobol point, for trial 0 the centre."""
    point = _centre(space, seed) if number == 0 else sobol_sample(space, number, seed)
    parameters, _ = sample_unseen(space, trials, number, seed, first=point)
    return parameters, "the centre of the space" if number == 0 else f"point {number} of Sobol's sequence"


@dataclass(frozen=True, slots=True)
class _Candidate:
    parameters: dict[str, Value]
    expected: Prediction


def _candidates(surrogate: Surrogate, seed: int) -> Iterator[_Candidate]:
    """Yield candidates for a suggestion, the one with the largest acquisition first."""
    import numpy as np  # noqa: PLC0415

    from service.search.gaussian_process.candidates import ranked_candidates  # noqa: PLC0415

    points = ranked_candidates(
        surrogate.acquisition, surrogate.encoding, surrogate.best_points, np.random.default_rng(seed)
    )
    for at in range(len(points)):
        yield _Candidate(surrogate.encoding.configuration(points.units[at]), surrogate.prediction(points.take([at])))


def _centre(space: Space, seed: int) -> dict[str, Value]:
    """Return the configuration in the middle of every range, with random values of choices without an order."""
    rng = make_rng(seed, "centre")
    units = {name: rng.random() if is_unordered(space[name]) else 0.5 for name in sorted(space)}
    return configuration(space, units)


def _reason(surrogate: Surrogate, candidate: _Candidate, num_prior: int) -> str:
    expected = candidate.expected
    of_others = f" ({num_prior} of them of other studies)" if num_prior else ""
    model = f"a Gaussian process of {surrogate.num_values} trials{of_others}"
    predicted = f"{expected.mean:.4g} ± {expected.deviation:.2g}"
    parts = [f"gp: largest expected improvement by {model}, which predicts {predicted}"]
    if surrogate.num_infeasible:
        parts.append(
            f"feasible with probability {expected.feasibility:.2f} ({surrogate.num_infeasible} trials were not)"
        )
    if surrogate.num_pending:
        parts.append(f"{surrogate.num_pending} running trials count as if they ended as predicted")
    return "; ".join(parts)
