"""The samplers on the wire: which algorithm suggests configurations, and with which options."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from service.contract.base import Count, Request, Value, by_name


class AutoSamplerSpec(Request):
    """Chooses a sampler by the space, the budget and the observations. Each suggestion says which one and why."""

    name: Literal["auto"]
    seed: int = 0


class GridSamplerSpec(Request):
    """Tries every cell of the grid once, in order or shuffled by the seed."""

    name: Literal["grid"]
    shuffle: bool = False
    seed: int = 0


class RandomSamplerSpec(Request):
    """Draws each parameter independently and uniformly on its own scale."""

    name: Literal["random"]
    seed: int = 0


class SobolSamplerSpec(Request):
    """Draws the points of a scrambled Sobol sequence, which fill the space more evenly than random draws."""

    name: Literal["sobol"]
    seed: int = 0


class Stage(Request):
    """One stage of a coarse-to-fine search: its number of trials, its resource and its sampler."""

    trials: Count
    resource: Count | None = Field(
        default=None, description="step to which trials of this stage train; default: the study's maximum"
    )
    sampler: Literal["grid", "random", "sobol", "tpe"] = "random"
    keep: float = Field(
        default=0.25,
        gt=0,
        le=1,
        description="share of best trials that the next box encloses; 1: the next box is the same",
    )
    fixed: dict[str, Value] = Field(
        default={},
        description="parameters of the space that have one value in this stage; the next box keeps their range",
    )
    overrides: dict[str, Value] = Field(default={}, description="settings of the task that differ in this stage")


class CoarseToFineSamplerSpec(Request):
    """Searches in stages, each in a smaller box around the best trials so far.

    By default there are two stages, derived from the budget.
    """

    name: Literal["coarse_to_fine"]
    seed: int = 0
    stages: list[Stage] | None = Field(default=None, min_length=2, max_length=100)
    first_box: dict[str, list[Value]] | None = Field(
        default=None, description="ranges or choices of the first stage's box; default: the whole space"
    )
    review: bool = Field(default=False, description="a user reviews each box before its stage begins")


class TpeSamplerSpec(Request):
    """Optuna's tree-structured Parzen estimator (Bergstra et al. 2011)."""

    name: Literal["tpe"]
    seed: int = 0
    startup_trials: int = Field(default=10, ge=0, description="number of random trials before the model is used")


class GpSamplerSpec(Request):
    """A Gaussian process with expected improvement, for numbers, choices and conditional parameters alike."""

    name: Literal["gp"]
    seed: int = 0


class CmaEsSamplerSpec(Request):
    """Optuna's CMA-ES (Hansen 2016) for the numeric parameters that are unconditional. TPE samples the others."""

    name: Literal["optuna:cmaes"]
    seed: int = 0


class OptunaGpSamplerSpec(Request):
    """Optuna's Gaussian process for the unconditional parameters. TPE samples the others. Needs the extra `gp`."""

    name: Literal["optuna:gp"]
    seed: int = 0
    startup_trials: int = Field(default=10, ge=1, description="Sobol's points before the model is used")


class NsgaIiSamplerSpec(Request):
    """Optuna's NSGA-II (Deb et al. 2002), a genetic algorithm: each generation descends from the best trials."""

    name: Literal["optuna:nsga2"]
    seed: int = 0
    population: int = Field(
        default=50, ge=2, description="trials per generation, from which the parents of the next are chosen"
    )


class QmcSamplerSpec(Request):
    """Optuna's scrambled quasi-random sequences."""

    name: Literal["optuna:qmc"]
    seed: int = 0
    sequence: Literal["halton", "sobol"] = "halton"


_Samplers = (
    AutoSamplerSpec
    | GridSamplerSpec
    | RandomSamplerSpec
    | SobolSamplerSpec
    | CoarseToFineSamplerSpec
    | TpeSamplerSpec
    | GpSamplerSpec
    | CmaEsSamplerSpec
    | OptunaGpSamplerSpec
    | NsgaIiSamplerSpec
    | QmcSamplerSpec
)

SamplerSpec = Annotated[Annotated[_Samplers, Field(discriminator="name")], BeforeValidator(by_name)]
