"""Runs the preflight of a study, whatever its kind of task."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from service.contract.base import Value
from service.contract.study import StudySpec
from worker.training.allowed_folders import AllowedFolders
from worker.training.batch_size import is_auto, limited_by_data, with_default
from worker.training.deadline import Deadline
from worker.training.errors import ConfigError
from worker.training.preflight import Check, PreflightResult, SearchSpace, run_preflight
from worker.training.preflight.runner import OnCheck
from worker.trial.preflight.own_code import OwnCode, check_own_code
from worker.trial.preflight.study_space import search_space_of


def preflight_study(
    spec: StudySpec,
    *,
    seconds: float,
    budget_epochs: float | None = None,
    centre: Mapping[str, Value] | None = None,
    seed: int = 0,
    device: str = "cpu",
    teacher: Path | None = None,
    readable: Sequence[Path] | None = None,
    numbers: Collection[int] = range(1, 11),
    threads: int = 1,
    baseline_seconds: float = 0.0,
    on_check: OnCheck | None = None,
) -> PreflightResult:
    """Check the task of a study at the centre and the extremes of its space.

    A function or command of the user's own is executed for a few steps, each time in a process of its own.

    Args:
        spec: the study.
        seconds: the time after which no further check begins.
        budget_epochs: the epochs that the whole search will train, of which the checks of a train task may take 2 %.
        centre: the parameters of the configuration to check around; None: the middle of the space.
        seed: the seed of all draws.
        device: cpu or cuda.
        teacher: the file of the checkpoint that `loss.teacher` names, if that is not a path.
        readable: the folders below which the paths of the study must lie; None: no limit.
        numbers: the numbers of the checks to run; of a function or command all run.
        threads: the number of CPU threads of a function or command.
        baseline_seconds: the time limit of the baselines of a train task; 0: none are fitted.
        on_check: called with each check as soon as it is done.

    Raises:
        ConfigError: the study's task can't be checked, or its configuration does not fit its data or this machine.
        OutsideFolders: a path is not in a `readable` folder.
    """
    if spec.task is None:
        raise ConfigError(
            "task", "the study has none; a caller of the service executes its trials, so nothing can be checked"
        )
    if spec.task.train is None:
        with tempfile.TemporaryDirectory(prefix="assayer-preflight-") as folder:
            space = _around(search_space_of(spec.space, spec.task.configuration or {}), centre)
            code = OwnCode(spec, space, Path(folder), seed, device, threads, Deadline(seconds))
            return check_own_code(code, on_check or _ignore)
    space = _around(search_space_of(spec.space, with_default(spec.task.train)), centre)
    config = space.configuration()
    if is_auto(spec.task.train):
        config = limited_by_data(config, AllowedFolders.of(readable))
        space = replace(space, base={**space.base, "batch_size": config.batch_size})
    result = run_preflight(
        config,
        space,
        seconds=seconds,
        budget_epochs=budget_epochs,
        seed=seed,
        device=device,
        constraints=_constraints(spec),
        teacher=teacher,
        readable=readable,
        numbers=numbers,
        baseline_seconds=baseline_seconds,
        on_check=on_check,
    )
    if is_auto(spec.task.train) and result.batch_size is None:  # no GPU, or no time
        return replace(result, batch_size=config.batch_size)
    return result


def _constraints(spec: StudySpec) -> dict[str, Any]:
    """Return the constraints of a model; memory limits are of the configurations that the service hands out."""
    return {} if spec.constraints is None else spec.constraints.model_dump(exclude_none=True, exclude={"memory"})


def _around(space: SearchSpace, centre: Mapping[str, Value] | None) -> SearchSpace:
    return space if centre is None else replace(space, centre=centre)


def _ignore(check: Check) -> None:
    """Ignore a check; the default of `on_check`."""
