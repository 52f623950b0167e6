"""Teacher trials for knowledge distillation: finds them in a spec and replaces their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from service.contract.sampler import CoarseToFineSamplerSpec
from service.contract.space import CategoricalParameter, ConstantParameter
from service.contract.study import StudySpec
from service.contract.teacher import TEACHER, is_path

_SECTION, _OPTION = TEACHER.split(".")


def teacher_of(train: Mapping[str, Any]) -> str | None:
    """Return the trial that a train task's configuration names as teacher; None if there is none or it is a path."""
    section = train.get(_SECTION)
    given = section.get(_OPTION) if isinstance(section, Mapping) else None
    return given if isinstance(given, str) and not is_path(given) else None


def teachers_of(spec: StudySpec) -> Iterator[tuple[str, str]]:
    """Yield (dotted path, name) for each teacher trial that the spec of a train task names."""
    if spec.task is None or spec.task.train is None:
        return
    if (name := teacher_of(spec.task.train)) is not None:
        yield f"task.train.{TEACHER}", name
    for path, value in _settings(spec):
        if isinstance(value, str) and not is_path(value):
            yield path, value


def with_teachers(spec: StudySpec, names: Mapping[str, str]) -> StudySpec:
    """Return the spec with teachers renamed, also in conditions on the teacher.

    Args:
        spec: the spec of a train task.
        names: old name -> new name.
    """

    def renamed(node: Any, *, is_teacher: bool) -> Any:
        match node:
            case dict():
                return {key: renamed(each, is_teacher=is_teacher or key == TEACHER) for key, each in node.items()}
            case list():
                return [renamed(each, is_teacher=is_teacher) for each in node]
            case str() if is_teacher:
                return names.get(node, node)
            case _:
                return node

    document = renamed(spec.model_dump(), is_teacher=False)
    section = document["task"]["train"].get(_SECTION)
    if isinstance(section, dict) and _OPTION in section:
        section[_OPTION] = names.get(section[_OPTION], section[_OPTION])
    return StudySpec.model_validate(document)


def _settings(spec: StudySpec) -> Iterator[tuple[str, object]]:
    """Yield (dotted path, value) for each teacher that the space and the stages may set."""
    match spec.space.get(TEACHER):
        case CategoricalParameter(choices=choices):
            yield from ((f"space.{TEACHER}.choices[{at}]", choice) for at, choice in enumerate(choices))
        case ConstantParameter(value=value):
            yield f"space.{TEACHER}.value", value
    if isinstance(spec.sampler, CoarseToFineSamplerSpec):
        for at, stage in enumerate(spec.sampler.stages or []):
            yield f"sampler.stages.{at}.overrides.{TEACHER}", stage.overrides.get(TEACHER)
