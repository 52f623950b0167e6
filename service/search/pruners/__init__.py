"""Pruners and schedulers, and the factory that builds the one a spec asks for."""

from __future__ import annotations

from typing import assert_never

from service.contract.pruner import (
    AshaPrunerSpec,
    FreezeThawPrunerSpec,
    HyperbandPrunerSpec,
    MedianPrunerSpec,
    NoPrunerSpec,
    PatiencePrunerSpec,
    PercentilePrunerSpec,
    ThresholdPrunerSpec,
)
from service.contract.study import StudySpec
from service.search.pruners.base import Pruner
from service.search.pruners.none import NoPruner
from service.search.pruners.patience import PatiencePruner
from service.search.pruners.percentile import PercentilePruner
from service.search.pruners.threshold import ThresholdPruner
from service.search.schedulers import scheduler_of

__all__ = ["Pruner", "pruner_for"]


def pruner_for(spec: StudySpec) -> Pruner:
    """Build the pruner of a checked spec."""
    direction = spec.primary_objective.direction
    match spec.pruner:
        case NoPrunerSpec():
            return NoPruner()
        case MedianPrunerSpec(startup_trials=startup_trials, warmup_steps=warmup_steps):
            return PercentilePruner(direction, 50.0, startup_trials=startup_trials, warmup_steps=warmup_steps)
        case PercentilePrunerSpec(percentile=percentile, startup_trials=startup_trials, warmup_steps=warmup_steps):
            return PercentilePruner(direction, percentile, startup_trials=startup_trials, warmup_steps=warmup_steps)
        case ThresholdPrunerSpec(lower=lower, upper=upper, warmup_steps=warmup_steps):
            return ThresholdPruner(lower=lower, upper=upper, warmup_steps=warmup_steps)
        case PatiencePrunerSpec(patience=patience, min_delta=min_delta):
            return PatiencePruner(direction, patience=patience, min_delta=min_delta)
        case AshaPrunerSpec() | HyperbandPrunerSpec() | FreezeThawPrunerSpec():
            scheduler = scheduler_of(spec)
            assert scheduler is not None
            return scheduler
        case _:
            assert_never(spec.pruner)
