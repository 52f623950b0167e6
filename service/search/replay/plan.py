"""Cost estimate of a study before it runs: trials and steps per coarse-to-fine stage or rung."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from service.contract.plan import Plan, PlannedPart
from service.contract.pruner import NoPrunerSpec
from service.contract.sampler import CoarseToFineSamplerSpec
from service.contract.space import NumericParameter
from service.contract.study import StudySpec
from service.domain.budget import SECONDS_PER_HOUR, has_stopping_limits
from service.domain.parameter import values_of
from service.domain.rungs import Rungs, rungs_of
from service.search.decide import num_planned
from service.search.samplers.coarse_to_fine.sampler import stages_of


def plan(spec: StudySpec, step_seconds: float | None = None) -> Plan:
    """Estimate the cost of a checked spec.

    A trial of a study without a resource counts as one step. With a scheduler in mode promote, the counts are exact if
    every trial reaches its first rung.

    Args:
        spec: a checked spec.
        step_seconds: seconds per step of one training, if known.
    """
    trials, last = num_planned(spec), spec.resource.max if spec.resource else None
    rungs, notes = rungs_of(spec), []
    parts: list[PlannedPart] = []
    if trials is None:
        end = "another budget ends it" if has_stopping_limits(spec.budget) else "it is stopped"
        notes.append(f"no budget of trials: the study continues until {end}; write budget: {{trials: 60}} to plan it")
    elif last is None:
        notes.append("no resource: each trial counts as one step; write resource: {name: epoch, max: 20} to plan steps")
        parts = [PlannedPart(name="all", trials=trials, from_step=0, to_step=1)]
    elif rungs is not None and not rungs.has_quota:
        notes.append("freeze_thaw decides how far each trial trains, and a budget ends the search")
    elif rungs is not None:
        parts = _climb(rungs, trials)
        if not rungs.promotes:
            notes.append("in mode stop the first trials at a rung always continue, so the cost is slightly higher")
    elif isinstance(spec.sampler, CoarseToFineSamplerSpec):
        parts = _stages(spec, trials, last)
    else:
        parts = [PlannedPart(name="all", trials=trials, from_step=0, to_step=last)]
    if spec.retry_failed:
        notes.append(f"failed trials are tried up to {spec.retry_failed} times more; this plan does not include it")
    counted = [sum(part.num_steps for part in parts)] if parts else []
    num_steps = min([*counted, *([] if spec.budget.resource is None else [spec.budget.resource])], default=None)
    trainings, is_fixed = trainings_per_trial(spec)
    if trainings > 1:
        most = "" if is_fixed else "up to "
        notes.append(f"each trial trains {most}{trainings} models side by side: folds times repeats")
    notes += _bounds(spec, num_steps, None if step_seconds is None else step_seconds * trainings)
    return Plan(
        trials=trials,
        resource=spec.resource.name if spec.resource else "trial",
        parts=parts,
        num_steps=num_steps,
        full_trial_equivalents=None if num_steps is None else num_steps / (last or 1) * trainings,
        trainings_per_trial=trainings,
        is_upper_bound=(rungs is None and not isinstance(spec.pruner, NoPrunerSpec))
        or has_stopping_limits(spec.budget)
        or not is_fixed,
        step_seconds=step_seconds,
        notes=notes,
    )


def trainings_per_trial(spec: StudySpec) -> tuple[int, bool]:
    """Return how many models a trial trains (folds times repeats), and whether this is the same for all trials.

    If the space searches folds or repeats, it is the largest number.
    """
    train = spec.task.train if spec.task is not None else None
    if train is None:
        return 1, True
    product, is_fixed = 1, True
    for name in ("folds", "repeats"):
        parameter = spec.space.get(name)
        if parameter is None:
            values: tuple[object, ...] = (train.get(name),)
        elif isinstance(parameter, NumericParameter):
            values = (parameter.low, parameter.high)
        else:
            values = tuple(values_of(parameter) or ())
        counts = [value for value in values if isinstance(value, int) and value > 0] or [1]
        product *= max(counts)
        is_fixed = is_fixed and len(set(counts)) == 1
    return product, is_fixed


def _bounds(spec: StudySpec, num_steps: int | None, step_seconds: float | None) -> Iterator[str]:
    """Yield notes on budgets that may end the search before its number of trials does."""
    budget = spec.budget
    ends = [
        f"{limit:g} {words}"
        for limit, words in (
            (budget.hours, "hours have passed"),
            (budget.device_hours, "device-hours are used up"),
            (budget.resource, f"{spec.resource.name if spec.resource else 'step'}s of all trials together are used up"),
            (budget.failures, "trials have failed"),
            (budget.no_improvement, "trials brought no improvement"),
        )
        if limit is not None
    ]
    if budget.target is not None:
        ends.append(f"a trial has reached {budget.target:g}")
    if ends:
        yield f"it ends sooner once {', or '.join(ends)}"
    if budget.device_hours is None or step_seconds is None:
        return
    num_devices = (spec.requires and spec.requires.devices) or 1
    affordable = int(budget.device_hours * SECONDS_PER_HOUR / (step_seconds * num_devices))
    if num_steps is None or affordable < num_steps:
        of = f" of these {num_steps}" if num_steps is not None else ""
        yield f"{budget.device_hours:g} device-hours suffice for {affordable}{of} steps"


def _climb(rungs: Rungs, trials: int) -> list[PlannedPart]:
    """Plan a scheduler rung by rung in each bracket; ⌊n/eta⌋ trials of each rung continue."""
    sizes = Counter(rungs.bracket(number) for number in range(trials))
    parts = []
    for bracket, size in sorted(sizes.items()):
        num, steps = size, rungs.steps[bracket:]
        where = f"bracket {bracket + 1} of {len(rungs.brackets)}, " if len(rungs.brackets) > 1 else ""
        for before, step in zip((0, *steps), steps, strict=False):
            if num:
                name = f"{where}to step {step}"
                parts.append(PlannedPart(name=name, trials=num, from_step=before, to_step=step))
            num = rungs.num_promotable(num)
    return parts


def _stages(spec: StudySpec, trials: int, last: int) -> list[PlannedPart]:
    """Plan a coarse-to-fine search stage by stage; trials of the budget beyond the stages belong to the last stage."""
    stages = stages_of(spec)
    parts, left = [], trials
    for at, stage in enumerate(stages):
        num = left if at == len(stages) - 1 else min(stage.trials, left)
        name = f"stage {at + 1} of {len(stages)}"
        parts.append(PlannedPart(name=name, trials=num, from_step=0, to_step=stage.resource or last))
        left -= num
    return parts
