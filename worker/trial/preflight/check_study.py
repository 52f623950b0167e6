"""Runs the preflight of a study, whatever its kind of task."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from service.contract.study import StudySpec
from worker.training.errors import ConfigError
from worker.training.preflight import PreflightResult, run_preflight
from worker.training.preflight.runner import OnCheck
from worker.trial.preflight.study_space import search_space_of


def preflight_study(
    spec: StudySpec,
    *,
    seconds: float,
    seed: int = 0,
    device: str = "cpu",
    teacher: Path | None = None,
    readable: Sequence[Path] | None = None,
    numbers: Collection[int] = range(1, 10),
    on_check: OnCheck | None = None,
) -> PreflightResult:
    """Check the training of a study at the centre and the extremes of its space.

    Args:
        spec: the study.
        seconds: the time after which no further check begins.
        seed: the seed of all draws.
        device: cpu or cuda.
        teacher: the file of the checkpoint that `loss.teacher` names, if that is not a path.
        readable: the folders below which the paths of the study must lie; None: no limit.
        numbers: the numbers of the checks to run.
        on_check: called with each check as soon as it is done.

    Raises:
        ConfigError: the study's task can't be checked, or its configuration does not fit its data or this machine.
        OutsideFolders: a path is not in a `readable` folder.
    """
    if spec.task is None or spec.task.train is None:
        raise ConfigError("task", f"a preflight checks tasks of the kind train, not {spec.task_kind}")
    space = search_space_of(spec.space, spec.task.train)
    return run_preflight(
        space.configuration(),
        space,
        seconds=seconds,
        seed=seed,
        device=device,
        constraints=None if spec.constraints is None else spec.constraints.model_dump(exclude_none=True),
        teacher=teacher,
        readable=readable,
        numbers=numbers,
        on_check=on_check,
    )
