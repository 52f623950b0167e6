"""The pruners, schedulers among them, and which of them a spec asks for."""

from __future__ import annotations

from typing import assert_never

from service.contract.pruner import AshaPruner, HyperbandPruner, MedianPruner, NoPruner
from service.contract.study import StudySpec
from service.search.halving import halving_of
from service.search.pruners.base import Pruner
from service.search.pruners.median import Median
from service.search.pruners.none import Never

__all__ = ["Pruner", "pruner_for"]


def pruner_for(spec: StudySpec) -> Pruner:
    """Build the pruner of a checked spec."""
    match spec.pruner:
        case NoPruner():
            return Never()
        case MedianPruner(startup_trials=startup_trials, warmup_steps=warmup_steps):
            return Median(spec.objective.direction, startup_trials=startup_trials, warmup_steps=warmup_steps)
        case AshaPruner() | HyperbandPruner():
            halving = halving_of(spec)
            assert halving is not None
            return halving
        case _:
            assert_never(spec.pruner)
