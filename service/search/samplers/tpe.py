"""The TPE sampler: random trials first, then Optuna's model through the bridge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, islice

from service.contract.base import Directions, Value
from service.contract.space import Space
from service.domain.finite_space import num_configurations
from service.domain.history import History, Suggestion, TrialRecord
from service.search.observations import is_observation
from service.search.samplers.base import Sampler, before
from service.search.seeds import derive
from service.search.space.sampling import sample_unseen
from service.search.warm_start import active_prior_trials

_REDRAWS = 5


class TpeSampler(Sampler):
    """Tree-structured Parzen estimator (Bergstra et al. 2011)."""

    def __init__(self, space: Space, directions: Directions, startup_trials: int) -> None:
        self._space = space
        self._directions = directions
        self._startup_trials = startup_trials

    def suggest(self, history: History, number: int, seed: int) -> Suggestion:
        return propose(
            self._space,
            self._directions,
            before(history, number),
            number,
            seed,
            startup_trials=self._startup_trials,
            earlier=active_prior_trials(history, number),
        )


def propose(
    space: Space,
    directions: Directions,
    trials: Sequence[TrialRecord],
    number: int,
    seed: int,
    *,
    startup_trials: int,
    earlier: Sequence[TrialRecord] = (),
) -> Suggestion:
    """Suggest trial `number` by TPE, or a random configuration during startup.

    In a finite space the configuration is one that none of `trials` has, while there is one.

    Args:
        space: a checked space.
        directions: direction of each objective.
        trials: the study's trials to learn from.
        number: number of the new trial, which enters the seed.
        seed: the study's seed.
        startup_trials: number of observations, prior trials included, from which the model is used.
        earlier: prior trials, from which the model learns too.
    """
    num_observations = sum(1 for _ in islice(filter(is_observation, chain(earlier, trials)), startup_trials))
    if num_observations < startup_trials:
        parameters, _ = sample_unseen(space, trials, number, seed)
        return Suggestion(
            parameters, f"tpe startup: random, {num_observations} of {startup_trials} trials to learn from"
        )

    # Importing Optuna takes a fifth of a second and 20 MB, so import it only when TPE is used.
    from service.search.optuna_bridge.tpe import suggest_tpe  # noqa: PLC0415
    from service.search.trial_matrix import trial_matrix_of  # noqa: PLC0415

    columns = trial_matrix_of(space, (*earlier, *trials), len(directions))
    is_finite = num_configurations(space) is not None
    for redraw in range(_REDRAWS):
        answer = suggest_tpe(space, directions, columns, derive(seed, "tpe", number, redraw))
        if not is_finite or not columns.contains(space, answer.parameters, since=len(earlier)):
            open_too = f" and {answer.num_open} open ones to stay away from" if answer.num_open else ""
            others = f", {len(earlier)} of other studies" if earlier else ""
            reason = f"tpe: a model of {answer.num_learned} trials{others}, {answer.num_good} of them good{open_too}"
            return Suggestion(answer.parameters, reason)
    parameters, _ = sample_unseen(space, trials, number, seed)
    return Suggestion(parameters, "tpe: random, because the model's best configurations were all tried")


def fill_in(
    space: Space,
    directions: Directions,
    trials: Sequence[TrialRecord],
    *,
    number: int,
    seed: int,
    fixed: Mapping[str, Value],
) -> dict[str, Value]:
    """Fill in by TPE the parameters that another model left open; `fixed` are values of unconditional parameters."""
    if fixed.keys() == space.keys():
        return dict(fixed)

    from service.search.optuna_bridge.tpe import suggest_tpe  # noqa: PLC0415
    from service.search.trial_matrix import trial_matrix_of  # noqa: PLC0415

    columns = trial_matrix_of(space, trials, len(directions))
    return suggest_tpe(space, directions, columns, derive(seed, "tpe", number), fixed).parameters
