"""NSGA-II's two steps, by Optuna's own: which trials survive as parents, and what a child inherits."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import cast

from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import NSGAIISampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from service.domain.front import Losses


def survivors(losses: Mapping[int, Losses], num: int) -> list[int]:
    """The numbers of the `num` trials that become parents: front by front, of the last one those in the least crowd."""
    told = [_told(number, {}, point) for number, point in losses.items()]
    sampler = NSGAIISampler(population_size=num)
    kept = sampler._elite_population_selection_strategy(_view(losses), told)  # noqa: SLF001 - has no public name
    return sorted(trial.number for trial in kept)


def child_of(places: Mapping[int, Mapping[str, float]], losses: Mapping[int, Losses], seed: int) -> dict[str, float]:
    """Cross two parents, each the better of two drawn; coordinates that mutate are left out, to be drawn anew.

    `places` are the parents in the unit cube by their numbers, at least two, all with the same coordinates.
    """
    told = [_told(number, place, losses[number]) for number, place in places.items()]
    cube = _cube(next(iter(places.values())))
    sampler = NSGAIISampler(seed=seed)
    return dict(sampler._child_generation_strategy(_view(losses), cube, told))  # noqa: SLF001 - has no public name


def _told(number: int, place: Mapping[str, float], losses: Losses) -> FrozenTrial:
    trial = create_trial(state=TrialState.COMPLETE, values=list(losses), params=dict(place), distributions=_cube(place))
    trial.number = number
    return trial


def _cube(names: Mapping[str, float]) -> dict[str, BaseDistribution]:
    return {name: FloatDistribution(0.0, 1.0) for name in names}


def _view(losses: Mapping[int, Losses]) -> Study:
    """What these steps read of a study: that smaller is better in each objective."""
    num_objectives = len(next(iter(losses.values())))
    return cast("Study", SimpleNamespace(directions=[StudyDirection.MINIMIZE] * num_objectives))
