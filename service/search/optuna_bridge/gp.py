"""Optuna's Gaussian process, asked through a read-only view of our trials; loads torch and scipy."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import cast

from optuna.samplers import GPSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from service.contract.base import Value
from service.contract.space import Space
from service.domain.history import TrialRecord
from service.domain.parameter import fits
from service.search.coordinates import coordinate, value_at
from service.search.optuna_bridge.distributions import distribution


def suggest_gp(
    space: Space, names: Sequence[str], trials: Sequence[TrialRecord], losses: Mapping[int, float], seed: int
) -> dict[str, Value]:
    """Ask for values of `names`: trials with a loss are learned from, open ones kept away from."""
    distributions = {name: distribution(space[name]) for name in names}

    def told(trial: TrialRecord) -> FrozenTrial:
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
        and all(name in trial.parameters and fits(space[name], trial.parameters[name]) for name in names)
    ]
    view = cast("Study", _StudyView([told(trial) for trial in known]))
    sampler = GPSampler(seed=seed, n_startup_trials=1, warn_independent_sampling=False)
    drawn = sampler.sample_relative(view, create_trial(state=TrialState.RUNNING), distributions)
    return {name: value_at(space[name], distributions[name].to_internal_repr(value)) for name, value in drawn.items()}


class _StudyView:
    """What the sampler reads of a study: smaller is better, and the trials."""

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
    """Optuna tells other processes what it is about to try; ours learn it from the history."""

    def set_trial_system_attr(self, trial_id: int, key: str, value: object) -> None:
        """Forget it."""
