"""Runs the checks of a preflight in their order, within a time budget, on models and data that nothing else uses."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from worker.training.allowed_folders import AllowedFolders
from worker.training.baselines import BASELINES, Baseline, run_baselines
from worker.training.build import load
from worker.training.config import TrainingConfig
from worker.training.deadline import Deadline
from worker.training.errors import TrainingError
from worker.training.preflight.bench import Bench
from worker.training.preflight.cost import Corner, check_cost, step_seconds_per_epoch
from worker.training.preflight.data_leaks import check_duplicates, check_shift
from worker.training.preflight.data_signal import check_features, check_signal
from worker.training.preflight.initial_loss import check_initial_loss
from worker.training.preflight.labels import check_labels
from worker.training.preflight.layers import check_layers
from worker.training.preflight.learning_rate import check_learning_rate
from worker.training.preflight.one_batch import check_one_batch
from worker.training.preflight.parameter_effects import check_parameters
from worker.training.preflight.reproducibility import check_reproducibility
from worker.training.preflight.result import Check, LearningRateRange, PreflightResult, Status
from worker.training.preflight.search_space import SearchSpace
from worker.training.preflight.shapes import check_one_step
from worker.training.preflight.throughput import check_loading
from worker.training.validate import check_fit, find_device

OnCheck = Callable[[Check], None]

SHARE = 0.02
"""The part of the search's time that a preflight may take."""


class _Findings:
    """What checks find beside their `Check`."""

    rate: LearningRateRange | None = None
    corners: Sequence[Corner] = ()

    def check_rate(self, bench: Bench) -> list[Check]:
        checks, self.rate = check_learning_rate(bench)
        return checks

    def check_cost(self, bench: Bench) -> list[Check]:
        checks, self.corners = check_cost(bench)
        return checks


def run_preflight(
    config: TrainingConfig,
    space: SearchSpace,
    *,
    seconds: float,
    budget_epochs: float | None = None,
    seed: int = 0,
    device: str = "cpu",
    constraints: Mapping[str, Any] | None = None,
    teacher: Path | None = None,
    readable: Sequence[Path] | None = None,
    numbers: Collection[int] = range(1, 10),
    baseline_seconds: float = 0.0,
    on_check: OnCheck | None = None,
) -> PreflightResult:
    """Run all checks for which the time suffices, and return what they found.

    The preflight builds its own models and changes no random stream of the process. Given enough time, its result
    follows from the configuration, the space and the seed, except for the measured seconds and bytes.

    Args:
        config: the configuration at the centre of the space.
        space: the searched settings.
        seconds: the time after which no further check begins, and long ones end early.
        budget_epochs: the epochs that the whole search will train; the preflight may take 2 % of their time if that is
            more than `seconds`. None: unknown.
        seed: the seed of all draws.
        device: cpu, cuda, or one GPU, such as cuda:1.
        constraints: `{"parameters": {"max": n}}`; None: none.
        teacher: the file of the checkpoint that `loss.teacher` names, if that is not a path.
        readable: the folders that all paths of the configuration must lie in, after following links; None: no limit.
        numbers: the numbers of the checks to run, such as 3 to overfit one batch, or 4 for the learning-rate range.
        baseline_seconds: the time limit of the baselines, which are fitted after the checks; 0: none are.
        on_check: called with each check as soon as it is done.

    Raises:
        ConfigError: the configuration does not fit its data or this machine.
        OutsideFolders: a path is not in a `readable` folder.
    """
    started = time.perf_counter()
    deadline = Deadline(seconds)
    folders = AllowedFolders.of(readable)
    dataset = load(config, find_device(device), folders)[0]
    check_fit(config, dataset, None)
    bench = Bench(
        replace(config, compile=False),
        space,
        dataset,
        seed,
        deadline,
        constraints or {},
        teacher=teacher,
        folders=folders,
    )
    findings = _Findings()
    # Number, name of the check that stands for all of a function's, function, and whether it needs a model that steps.
    table: list[tuple[int, str, Callable[[Bench], list[Check]], bool]] = [
        (1, "one_step", check_one_step, False),
        (2, "initial_loss", check_initial_loss, True),
        (3, "one_batch", check_one_batch, True),
        (4, "learning_rate", findings.check_rate, True),
        (5, "layers", check_layers, True),
        (6, "cost", findings.check_cost, True),
        (7, "reproducibility", check_reproducibility, True),
        (8, "labels", check_labels, False),
        (8, "duplicates", check_duplicates, False),
        (8, "feature_scales", check_features, False),
        (8, "signal", check_signal, False),
        (8, "distribution_shift", check_shift, False),
        (8, "loading", check_loading, True),
        (9, "parameters", check_parameters, True),
    ]
    checks: list[Check] = []
    can_step = True
    for number, name, function, needs_step in table:
        if number not in numbers:
            continue
        if needs_step and not can_step:
            found = [Check(number, name, Status.NOT_RUN, "It needs a model that can take a step; see check 1.")]
        elif deadline.has_passed:
            found = [Check(number, name, Status.NOT_RUN, "The time of the preflight was over.")]
        else:
            found = _run(number, name, function, bench)
        for check in found:
            checks.append(check)
            if on_check is not None:
                on_check(check)
        if number == 1:
            can_step = all(check.status is not Status.FAILED for check in found)
            if can_step and budget_epochs is not None:
                deadline.extend(max(0.0, SHARE * budget_epochs * step_seconds_per_epoch(bench) - seconds))
    checked_seconds = time.perf_counter() - started
    baselines = _baselines(bench, baseline_seconds) if baseline_seconds else []
    centre = findings.corners[0] if findings.corners else None
    return PreflightResult(
        checks,
        checked_seconds,
        seconds_per_epoch=None if centre is None else centre.seconds_per_epoch,
        peak_memory_bytes=max((each.peak_bytes for each in findings.corners if each.peak_bytes), default=None),
        learning_rate=findings.rate,
        infeasible=[dict(each.settings) for each in findings.corners if each.problem is not None and each.settings],
        baselines=baselines,
        batch_size=next((check.figures.get("proposed") for check in checks if check.name == "largest_batch"), None),
        memory_limits=[each.limit for each in findings.corners if each.limit is not None],
    )


def _baselines(bench: Bench, seconds: float) -> list[Baseline]:
    """Fit the baselines; an exception is their note, since it must not cost the results of the checks."""
    try:
        return run_baselines(bench.config, seconds=seconds, seed=bench.seed, dataset=bench.dataset)
    except Exception as error:  # custom entries may raise anything
        reason = (str(error).splitlines() or [""])[0][:300]
        return [Baseline(name, note=f"failed: {reason}") for name in BASELINES]


def _run(number: int, name: str, function: Callable[[Bench], list[Check]], bench: Bench) -> list[Check]:
    """Run a check; an exception of the study's own code, or of the core, is what the check found."""
    try:
        with bench.random_stream(name):
            return function(bench)
    except Exception as error:  # custom entries may raise anything
        reason = (str(error).splitlines() or [""])[0][:300]
        kind = "" if isinstance(error, TrainingError) else f"{type(error).__name__}: "
        return [Check(number, name, Status.FAILED, f"It raised {kind}{reason}", {}, "Correct what the message names.")]
