"""Checks of multi-objective studies: rejects samplers, pruners and warm starts that need a single objective."""

from __future__ import annotations

from service.contract.problem import FieldError
from service.contract.pruner import NoPrunerSpec
from service.contract.sampler import CmaEsSamplerSpec, CoarseToFineSamplerSpec, GpSamplerSpec, OptunaGpSamplerSpec
from service.contract.study import StudySpec


def check_multi_objective(spec: StudySpec) -> list[FieldError]:
    """Check a multi-objective spec for strategies that rank trials by one value; a single objective has no errors."""
    num = len(spec.objectives)
    if num == 1:
        return []
    errors = []
    if isinstance(spec.sampler, CmaEsSamplerSpec | GpSamplerSpec | OptunaGpSamplerSpec | CoarseToFineSamplerSpec):
        message = (
            f"{spec.sampler.name} supports one objective, and this study has {num}; "
            "write sampler: tpe, or optuna:nsga2, random, sobol, grid, optuna:qmc or auto"
        )
        errors.append(FieldError(path="sampler.name", message=message))
    if not isinstance(spec.pruner, NoPrunerSpec):
        message = (
            f"{spec.pruner.name} judges one objective, and this study has {num}: a trial may be good in another; "
            "write pruner: none, or a single objective"
        )
        errors.append(FieldError(path="pruner", message=message))
    if spec.warm_start:
        message = f"applies only to studies with one objective, and this study has {num}; leave it out"
        errors.append(FieldError(path="warm_start", message=message))
    return errors
