"""Check of a train task's snapshots: each is of another epoch, so a training needs as many epochs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from service.contract.catalogue import Catalogue
from service.contract.problem import FieldError
from service.contract.sampler import CoarseToFineSamplerSpec
from service.contract.space import NumericParameter
from service.contract.study import StudySpec
from service.domain.parameter import values_of


def check_snapshots(spec: StudySpec, catalogue: Catalogue) -> Iterator[FieldError]:
    """Yield an error if some trial may have more snapshots than its whole training has epochs.

    A stage or a rung may end earlier; its trials have fewer snapshots, as far as they train.
    """
    assert spec.task is not None
    assert spec.task.train is not None
    snapshots = [*_numbers(spec, "snapshots", catalogue), *_of_stages(spec)]
    epochs = _numbers(spec, "epochs", catalogue)
    if not snapshots or not epochs:
        return  # a value of another type is reported elsewhere
    path, most = max(snapshots, key=lambda each: each[1])
    where, fewest = min(epochs, key=lambda each: each[1])
    if most > fewest:
        message = (
            f"{most} snapshots need at least {most} epochs, one for each, but a training may have {fewest} ({where}); "
            "use fewer snapshots, or more epochs"
        )
        yield FieldError(path=path, message=message)


def _numbers(spec: StudySpec, setting: str, catalogue: Catalogue) -> list[tuple[str, int]]:
    """Return (path in the study file, value) for the values that a plain setting may have; of a range, for its ends."""
    parameter = spec.space.get(setting)
    found: list[tuple[str, Any]]
    if parameter is None:
        train = spec.task.train if spec.task is not None else None
        found = [(f"task.train.{setting}", (train or {}).get(setting, catalogue.settings[setting].default))]
    elif isinstance(parameter, NumericParameter):
        found = [(f"space.{setting}.low", parameter.low), (f"space.{setting}.high", parameter.high)]
    else:
        found = [(f"space.{setting}", value) for value in values_of(parameter) or ()]
    return _whole(found)


def _of_stages(spec: StudySpec) -> list[tuple[str, int]]:
    stages = spec.sampler.stages if isinstance(spec.sampler, CoarseToFineSamplerSpec) else None
    found: list[tuple[str, Any]] = [
        (f"sampler.stages.{at}.overrides.snapshots", stage.overrides.get("snapshots"))
        for at, stage in enumerate(stages or [])
    ]
    return _whole(found)


def _whole(found: list[tuple[str, Any]]) -> list[tuple[str, int]]:
    """Return those that are whole numbers; a task may write 5.0 for 5."""
    return [
        (path, int(value))
        for path, value in found
        if not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))
    ]
