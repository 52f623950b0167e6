"""Samplers, and the factory that builds the one a spec asks for."""

from __future__ import annotations

from typing import assert_never

from service.contract.sampler import (
    AutoSampler,
    CmaesSampler,
    CoarseToFineSampler,
    GpSampler,
    GridSampler,
    NsgaiiSampler,
    QmcSampler,
    RandomSampler,
    SobolSampler,
    TpeSampler,
)
from service.contract.study import StudySpec
from service.search.samplers.auto import Auto
from service.search.samplers.base import Sampler
from service.search.samplers.cmaes import Cmaes
from service.search.samplers.coarse_to_fine import CoarseToFine
from service.search.samplers.gp import Gp
from service.search.samplers.grid import Grid
from service.search.samplers.nsga2 import Nsgaii
from service.search.samplers.qmc import Qmc
from service.search.samplers.random import Random
from service.search.samplers.sobol import Sobol
from service.search.samplers.tpe import Tpe

__all__ = ["Sampler", "sampler_for"]


def sampler_for(spec: StudySpec) -> Sampler:  # noqa: C901, PLR0911 - one line per sampler
    """Build the sampler of a checked spec."""
    match spec.sampler:
        case AutoSampler():
            return Auto(spec.space, spec.directions, spec.budget.trials)
        case GridSampler(shuffle=shuffle):
            return Grid(spec.space, shuffle=shuffle)
        case RandomSampler():
            return Random(spec.space)
        case SobolSampler():
            return Sobol(spec.space)
        case CoarseToFineSampler():
            return CoarseToFine.of(spec)
        case TpeSampler(startup_trials=startup_trials):
            return Tpe(spec.space, spec.directions, startup_trials)
        case CmaesSampler():
            return Cmaes(spec.space, spec.watched.direction)
        case GpSampler(startup_trials=startup_trials):
            return Gp(spec.space, spec.watched.direction, startup_trials)
        case NsgaiiSampler(population=population):
            return Nsgaii(spec.space, spec.directions, population)
        case QmcSampler(sequence=sequence):
            return Qmc(spec.space, sequence)
        case _:
            assert_never(spec.sampler)
