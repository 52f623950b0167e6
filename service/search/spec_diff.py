"""Edits of a study's spec: the differences between two versions, and which edits its existing trials allow."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from service.contract.base import Value
from service.contract.problem import FieldError
from service.contract.sampler import CoarseToFineSamplerSpec
from service.contract.study import StudySpec
from service.domain.parameter import same_value
from service.domain.rungs import Rungs, rungs_of
from service.search.samplers.coarse_to_fine.sampler import stages_of

_FIXED = {
    "name": "a study keeps its name",
    "project": "a study keeps its project",
    "objective": "the values of its trials belong to this objective",
    "task": "its trials were trained on this task",
    "resource": "its trials were trained to this step",
    "warm_start": "its prior trials were copied when it was created",
}

_COMPARED = frozenset({"objective", "task", "resource"})
"""The settings by which values of two studies are comparable."""


def differences(old: StudySpec, new: StudySpec) -> list[tuple[str, str]]:
    """Return (dotted path, change in words) for each difference between two specs."""
    return list(_differences("", _plain(old), _plain(new)))


def compares(old: StudySpec, new: StudySpec) -> bool:
    """Return whether values of trials of two specs are comparable: the same objective, task and length of training."""
    return not any(path.split(".")[0] in _COMPARED for path, _ in differences(old, new))


def check_edit(
    old: StudySpec, new: StudySpec, *, num_trials: int, stages_made: Iterable[tuple[int, StudySpec]]
) -> list[FieldError]:
    """Check whether a spec may replace the current one of a study.

    Existing trials remain observations, so an edit must keep whatever makes their values comparable: the objective, the
    task, the length of training, and the rungs at which trials are compared.

    Args:
        old: the current spec.
        new: the new spec, checked.
        num_trials: number of trials of the study.
        stages_made: each coarse-to-fine stage that has trials, with the spec by which they were made.
    """
    errors = [
        FieldError(path=path, message=f"cannot change ({changes}): {why}; leave it, or create another study")
        for path, changes in differences(old, new)
        for field, why in _FIXED.items()
        if path.split(".")[0] == field
    ]
    if num_trials and _shape(rungs_of(old)) != _shape(rungs_of(new)):
        message = (
            f"would compare trials {_describe_rungs(rungs_of(new))}, and those made are compared "
            f"{_describe_rungs(rungs_of(old))}; "
            "leave it, or create another study"
        )
        errors.append(FieldError(path="pruner", message=message))
    for stage, made_by in stages_made:
        before, after = _training(made_by, stage), _training(new, stage)
        if before != after:
            now = "is gone" if after is None else "would train otherwise"
            remedy = "leave its resource and overrides, or create another study"
            message = f"stage {stage + 1} has trials, and {now}; {remedy}"
            errors.append(FieldError(path="sampler.stages", message=message))
    return errors


def _plain(spec: StudySpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", exclude_none=True)


def _differences(path: str, old: Any, new: Any) -> Iterator[tuple[str, str]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            inner = f"{path}.{key}" if path else key
            if key not in new:
                yield inner, f"{json.dumps(old[key])} removed"
            elif key not in old:
                yield inner, f"{json.dumps(new[key])} added"
            else:
                yield from _differences(inner, old[key], new[key])
    elif not _alike(old, new):
        yield path, f"{json.dumps(old)} -> {json.dumps(new)}"


def _alike(old: object, new: object) -> bool:
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_alike, old, new))
    return same_value(old, new)


def _shape(rungs: Rungs | None) -> tuple[object, ...] | None:
    """Return what rung results depend on. The mode (promote or stop) is left out, because the service may change it."""
    return None if rungs is None else (rungs.steps, rungs.eta, rungs.brackets)


def _describe_rungs(rungs: Rungs | None) -> str:
    if rungs is None:
        return "at no rungs"
    brackets = f" in {len(rungs.brackets)} brackets" if len(rungs.brackets) > 1 else ""
    return f"at steps {', '.join(map(str, rungs.steps))}{brackets}, one of {rungs.eta} is promoted"


def _training(spec: StudySpec, stage: int) -> tuple[int | None, Mapping[str, Value]] | None:
    """Return the step that a stage's trials train to and the stage's overrides; None if there is no such stage."""
    whole = spec.resource.max if spec.resource else None
    if not isinstance(spec.sampler, CoarseToFineSamplerSpec):
        return whole, {}
    stages = stages_of(spec)
    return (stages[stage].resource or whole, stages[stage].overrides) if stage < len(stages) else None
