"""Checks that a scheduler fits a study's sampler, resource, objectives and budget."""

from __future__ import annotations

from service.contract.problem import FieldError
from service.contract.pruner import FreezeThawPrunerSpec, Scheduler
from service.contract.sampler import CoarseToFineSamplerSpec
from service.contract.study import StudySpec
from service.domain.budget import has_stopping_limits


def check_rungs(spec: StudySpec) -> list[FieldError]:
    """Check that a scheduler fits the spec's sampler, resource, objectives and budget."""
    if not isinstance(spec.pruner, Scheduler):
        return []
    name = spec.pruner.name
    if isinstance(spec.sampler, CoarseToFineSamplerSpec):
        message = (
            f"coarse_to_fine decides by its stages how long each trial trains, so {name} cannot; write pruner: median"
        )
        return [FieldError(path="pruner.name", message=message)]
    if spec.resource is None:
        message = f"{name} needs the last step of a trial; write resource: {{name: epoch, max: 27}}"
        return [FieldError(path="resource", message=message)]
    last = spec.resource.max
    if last < 2:
        message = f"{name} needs a step before the last one to compare trials at; write 2 or more, or pruner: none"
        return [FieldError(path="resource.max", message=message)]
    return _check_own(spec, spec.pruner, last)


def _check_own(spec: StudySpec, pruner: Scheduler, last: int) -> list[FieldError]:
    """Check the options of a scheduler against the last step."""
    if isinstance(pruner, FreezeThawPrunerSpec):
        return _check_freeze_thaw(spec, pruner, last)
    if pruner.min is not None and pruner.min >= last:
        message = f"the first rung is at step {pruner.min}, but trials end at {last}; write less than {last}"
        return [FieldError(path="pruner.min", message=message)]
    return []


def _check_freeze_thaw(spec: StudySpec, pruner: FreezeThawPrunerSpec, last: int) -> list[FieldError]:
    if len(spec.objectives) > 1:
        message = "freeze_thaw predicts the end of one learning curve; write one objective, or pruner: asha"
        return [FieldError(path="pruner.name", message=message)]
    rungs = pruner.rungs or []
    if rungs != sorted(set(rungs)) or (rungs and rungs[-1] >= last):
        message = f"must be ascending steps below the last one, {last}, got {', '.join(map(str, rungs))}"
        return [FieldError(path="pruner.rungs", message=message)]
    if not has_stopping_limits(spec.budget):
        whole = last * (spec.budget.trials or 60)
        message = (
            "freeze_thaw may train every paused trial on, so a number of trials does not end it; "
            f"write the steps of all trials together, such as resource: {max(last, whole // 4)}, or hours"
        )
        return [FieldError(path="budget", message=message)]
    return []
