"""The two steps of Optuna's NSGA-II: selection of the parents, and crossover with mutation."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import cast

from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import NSGAIISampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from service.domain.pareto import LossVector


def survivors(losses: Mapping[int, LossVector], num: int) -> list[int]:
    """Select `num` trials as parents, by non-domination rank and then by crowding distance; return their numbers."""
    trials = [_frozen_trial(number, {}, point) for number, point in losses.items()]
    sampler = NSGAIISampler(population_size=num)
    kept = sampler._elite_population_selection_strategy(_view(losses), trials)  # noqa: SLF001 - has no public name
    return sorted(trial.number for trial in kept)


def child_of(
    points: Mapping[int, Mapping[str, float]], losses: Mapping[int, LossVector], seed: int
) -> dict[str, float]:
    """Cross two parents, each selected by a binary tournament.

    Args:
        points: trial number -> position in the unit cube of each parent: at least two, all with the same coordinates.
        losses: trial number -> loss vector.
        seed: seed of the selection, the crossover and the mutation.

    Returns:
        The coordinates that the child inherits. Mutated ones are left out, so that the caller samples them.
    """
    trials = [_frozen_trial(number, place, losses[number]) for number, place in points.items()]
    cube = _cube(next(iter(points.values())))
    sampler = NSGAIISampler(seed=seed)
    return dict(sampler._child_generation_strategy(_view(losses), cube, trials))  # noqa: SLF001 - has no public name


def _frozen_trial(number: int, place: Mapping[str, float], losses: LossVector) -> FrozenTrial:
    trial = create_trial(state=TrialState.COMPLETE, values=list(losses), params=dict(place), distributions=_cube(place))
    trial.number = number
    return trial


def _cube(names: Mapping[str, float]) -> dict[str, BaseDistribution]:
    return {name: FloatDistribution(0.0, 1.0) for name in names}


def _view(losses: Mapping[int, LossVector]) -> Study:
    """Return the part of an Optuna study that these steps read: the direction of each objective (minimize)."""
    num_objectives = len(next(iter(losses.values())))
    return cast("Study", SimpleNamespace(directions=[StudyDirection.MINIMIZE] * num_objectives))
