"""Baselines of a study: fits simple models on the data of its task, at the centre of its space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from service.contract.study import StudySpec
from worker.training.baselines import Baseline, run_baselines
from worker.training.errors import ConfigError
from worker.trial.preflight.study_space import search_space_of


def baselines_of(
    spec: StudySpec,
    *,
    seconds: float,
    seed: int = 0,
    readable: Sequence[Path] | None = None,
    on_baseline: Callable[[Baseline], None] | None = None,
) -> list[Baseline]:
    """Fit the baselines of a study.

    Args:
        spec: the study.
        seconds: the time limit of all baselines.
        seed: the seed of all draws.
        readable: the folders below which the paths of the study must lie; None: no limit.
        on_baseline: called with each baseline as soon as it is done.

    Raises:
        ConfigError: the study's task names no data, or its data can't be used.
        OutsideFolders: a path is not in a `readable` folder.
    """
    if spec.task is None or spec.task.train is None:
        raise ConfigError(
            "task", f"a task of the kind {spec.task_kind} does not say what its data is; baselines need a train task"
        )
    config = search_space_of(spec.space, spec.task.train).configuration()
    return run_baselines(config, seconds=seconds, seed=seed, readable=readable, on_baseline=on_baseline)
