"""Optuna's Gaussian process sampler on a read-only view of trials; a suggestion loads torch and SciPy."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import cast

from optuna.samplers import GPSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from service.contract.base import Value
from service.contract.space import Space
from service.domain.history import TrialRecord
from service.domain.parameter import contains
from service.search.optuna_bridge.distributions import distribution
from service.search.space.transform import coordinate, value_at


def suggest_gp(
    space: Space, names: Sequence[str], trials: Sequence[TrialRecord], losses: Mapping[int, float], seed: int
) -> dict[str, Value]:
    """Suggest values of the parameters `names`.

    The model learns from trials that have a loss and avoids the neighbourhood of open trials. Trials without a valid
    value for one of the parameters are ignored.

    Args:
        space: a checked space.
        names: the parameters to suggest; all are unconditional.
        trials: the trials so far, prior trials included.
        losses: trial number -> loss, smaller is better.
        seed: seed of the sampler.
    """
    distributions = {name: distribution(space[name]) for name in names}

    def frozen_trial(trial: TrialRecord) -> FrozenTrial:
        return create_trial(
            state=TrialState.RUNNING if trial.is_open else TrialState.COMPLETE,
            value=losses.get(trial.number),
            params={
                name: each.to_external_repr(coordinate(space[name], trial.parameters[name]))
                for name, each in distributions.items()
            },
            distributions=distributions,
        )

    known = [
        trial
        for trial in trials
        if (trial.is_open or trial.number in losses)
        and all(name in trial.parameters and contains(space[name], trial.parameters[name]) for name in names)
    ]
    view = cast("Study", _StudyView([frozen_trial(trial) for trial in known]))
    sampler = GPSampler(seed=seed, n_startup_trials=1, warn_independent_sampling=False)
    drawn = sampler.sample_relative(view, create_trial(state=TrialState.RUNNING), distributions)
    return {name: value_at(space[name], distributions[name].to_internal_repr(value)) for name, value in drawn.items()}


class _StudyView:
    """The part of an Optuna study that the sampler reads: the direction (minimize) and the trials."""

    directions = (StudyDirection.MINIMIZE,)

    def __init__(self, trials: list[FrozenTrial]) -> None:
        self.trials = trials
        self._storage = _NoStorage()

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        del deepcopy, use_cache
        return [trial for trial in self.trials if states is None or trial.state in states]


class _NoStorage:
    """Ignores the attributes that Optuna stores for other processes, because Assayer's samplers read the history."""

    def set_trial_system_attr(self, trial_id: int, key: str, value: object) -> None:
        """Ignore the attribute."""
