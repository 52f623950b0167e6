"""Samplers, and the factory that builds the one a spec asks for."""

from __future__ import annotations

from typing import assert_never

from service.contract.sampler import (
    AutoSamplerSpec,
    CmaEsSamplerSpec,
    CoarseToFineSamplerSpec,
    GpSamplerSpec,
    GridSamplerSpec,
    NsgaIiSamplerSpec,
    OptunaGpSamplerSpec,
    QmcSamplerSpec,
    RandomSamplerSpec,
    SobolSamplerSpec,
    TpeSamplerSpec,
)
from service.contract.study import StudySpec
from service.search.samplers.auto import AutoSampler
from service.search.samplers.base import Sampler
from service.search.samplers.cmaes import CmaEsSampler
from service.search.samplers.coarse_to_fine.sampler import CoarseToFineSampler
from service.search.samplers.gp import GpSampler
from service.search.samplers.grid import GridSampler
from service.search.samplers.nsga2 import NsgaIiSampler
from service.search.samplers.optuna_gp import OptunaGpSampler
from service.search.samplers.qmc import QmcSampler
from service.search.samplers.random import RandomSampler
from service.search.samplers.sobol import SobolSampler
from service.search.samplers.tpe import TpeSampler

__all__ = ["Sampler", "sampler_for"]


def sampler_for(spec: StudySpec) -> Sampler:  # noqa: C901, PLR0911 - one line per sampler
    """Build the sampler of a checked spec."""
    match spec.sampler:
        case AutoSamplerSpec():
            return AutoSampler(spec.space, spec.directions, spec.budget.trials)
        case GridSamplerSpec(shuffle=shuffle):
            return GridSampler(spec.space, shuffle=shuffle)
        case RandomSamplerSpec():
            return RandomSampler(spec.space)
        case SobolSamplerSpec():
            return SobolSampler(spec.space)
        case CoarseToFineSamplerSpec():
            return CoarseToFineSampler.of(spec)
        case TpeSamplerSpec(startup_trials=startup_trials):
            return TpeSampler(spec.space, spec.directions, startup_trials)
        case CmaEsSamplerSpec():
            return CmaEsSampler(spec.space, spec.primary_objective.direction)
        case GpSamplerSpec():
            return GpSampler(spec.space, spec.primary_objective.direction)
        case OptunaGpSamplerSpec(startup_trials=startup_trials):
            return OptunaGpSampler(spec.space, spec.primary_objective.direction, startup_trials)
        case NsgaIiSamplerSpec(population=population):
            return NsgaIiSampler(spec.space, spec.directions, population)
        case QmcSamplerSpec(sequence=sequence):
            return QmcSampler(spec.space, sequence)
        case _:
            assert_never(spec.sampler)
