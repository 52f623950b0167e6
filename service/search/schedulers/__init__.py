"""Schedulers, the factory that builds the one a spec asks for, and what their rungs teach samplers."""

from __future__ import annotations

from service.contract.pruner import FreezeThawPrunerSpec
from service.contract.study import StudySpec
from service.domain.rungs import rungs_of
from service.search.schedulers.freeze_thaw import FreezeThaw
from service.search.schedulers.rung_scheduler import RungScheduler
from service.search.schedulers.successive_halving import SuccessiveHalving

__all__ = ["RungScheduler", "scheduler_of"]


def scheduler_of(spec: StudySpec) -> SuccessiveHalving | FreezeThaw | None:
    """Return the scheduler of a checked spec, or None if its pruner is not a scheduler."""
    rungs, objective = rungs_of(spec), spec.primary_objective
    if rungs is None:
        return None
    if isinstance(spec.pruner, FreezeThawPrunerSpec):
        return FreezeThaw(rungs, objective, spec.space, spec.sampler.seed)
    return SuccessiveHalving(rungs, objective)
