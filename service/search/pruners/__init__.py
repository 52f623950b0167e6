"""Pruners and schedulers, and the factory that builds the one a spec asks for."""

from __future__ import annotations

from typing import assert_never

from service.contract.pruner import (
    AshaPruner,
    HyperbandPruner,
    MedianPruner,
    NoPruner,
    PatiencePruner,
    PercentilePruner,
    ThresholdPruner,
)
from service.contract.study import StudySpec
from service.search.halving import halving_of
from service.search.pruners.base import Pruner
from service.search.pruners.none import Never
from service.search.pruners.patience import Patience
from service.search.pruners.percentile import Percentile
from service.search.pruners.threshold import Threshold

__all__ = ["Pruner", "pruner_for"]


def pruner_for(spec: StudySpec) -> Pruner:
    """Build the pruner of a checked spec."""
    direction = spec.watched.direction
    match spec.pruner:
        case NoPruner():
            return Never()
        case MedianPruner(startup_trials=startup_trials, warmup_steps=warmup_steps):
            return Percentile(direction, 50.0, startup_trials=startup_trials, warmup_steps=warmup_steps)
        case PercentilePruner(percentile=percentile, startup_trials=startup_trials, warmup_steps=warmup_steps):
            return Percentile(direction, percentile, startup_trials=startup_trials, warmup_steps=warmup_steps)
        case ThresholdPruner(lower=lower, upper=upper, warmup_steps=warmup_steps):
            return Threshold(lower=lower, upper=upper, warmup_steps=warmup_steps)
        case PatiencePruner(patience=patience, min_delta=min_delta):
            return Patience(direction, patience=patience, min_delta=min_delta)
        case AshaPruner() | HyperbandPruner():
            halving = halving_of(spec)
            assert halving is not None
            return halving
        case _:
            assert_never(spec.pruner)
