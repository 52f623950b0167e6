"""Coarse-to-fine search: a short stage in the whole space, then longer stages in smaller boxes around the best trials.

A stage's box is derived from the history when the stage begins or is proposed to a person. From then on the history
contains the box.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import assert_never

from service.contract.base import Direction, Value
from service.contract.problem import FieldError
from service.contract.sampler import CoarseToFineSamplerSpec, Stage
from service.contract.space import ConstantParameter, Space
from service.contract.study import StudySpec
from service.contract.trial import TrialState
from service.contract.validation_errors import did_you_mean, quote
from service.domain.history import History, StageBox, Suggestion, TrialRecord
from service.domain.parameter import contains, describe_domain
from service.search.samplers import tpe
from service.search.samplers.base import Sampler, before
from service.search.samplers.coarse_to_fine.box import Box, Evidence, Tried, check_box, from_bounds, refine, to_bounds
from service.search.samplers.grid import check_grid, grid_cells
from service.search.space.sampling import config_key, config_keys, sample_unseen, sobol_sample

_STARTUP_TRIALS = 10
"""Number of random trials of a stage before its model is used; at most half of the stage's trials."""


class CoarseToFineSampler(Sampler):
    """Searches in stages, each with a number of trials, a resource and an inner sampler (Karpathy, CS231n).

    Args:
        space: a checked space.
        direction: direction of the objective.
        stages: the stages, in order.
        resource_max: absolute step that trials of a stage without a resource train to; None if the study has none.
        last_is_open: whether the last stage continues beyond its number of trials.
        is_reviewed: whether a person reviews each box before its stage begins.
        first_box: the ranges and choices of the first stage's box that differ from the space.
    """

    def __init__(
        self,
        space: Space,
        direction: Direction,
        stages: Sequence[Stage],
        *,
        resource_max: int | None,
        last_is_open: bool,
        is_reviewed: bool,
        first_box: Mapping[str, Sequence[Value]] | None = None,
    ) -> None:
        self._space = space
        self._direction = direction
        self._stages = stages
        self._resource_max = resource_max
        self._last_is_open = last_is_open
        self._is_reviewed = is_reviewed
        self._first_box = from_bounds(space, first_box or {})

    @classmethod
    def of(cls, spec: StudySpec) -> CoarseToFineSampler:
        """Build the sampler of a checked spec; with a budget of trials, the last stage continues until it is spent."""
        assert isinstance(spec.sampler, CoarseToFineSamplerSpec)
        return cls(
            spec.space,
            spec.primary_objective.direction,
            stages_of(spec),
            resource_max=spec.resource.max if spec.resource else None,
            last_is_open=spec.budget.trials is not None,
            is_reviewed=spec.sampler.review,
            first_box=spec.sampler.first_box,
        )

    def suggest(self, history: History, number: int, seed: int) -> Suggestion:
        known = replace(history, trials=tuple(before(history, number)))
        at = self._next_stage(known)
        stage = self._stages[at]
        box = self.box(known, at)
        reason = self._reason(known, at, box)
        inner = self._inner(with_fixed(box.space, stage), known.trials, at, number, seed)
        numbers = to_bounds(box.space)
        return Suggestion(
            inner.parameters,
            f"stage {at + 1} of {len(self._stages)}: {reason}; {inner.reason}",
            notes={"box": numbers},
            stage=at,
            run_until=stage.resource,
            new_stage=StageBox(at, numbers, reason) if at and at not in known.stages else None,
        )

    def remaining(self, history: History) -> int | None:
        at = self._next_stage(history)
        if self._last_is_open:
            return None
        num_made = Counter(trial.stage for trial in history)
        return sum(max(0, stage.trials - num_made[later]) for later, stage in enumerate(self._stages) if later >= at)

    def waits_for(self, history: History) -> str | None:
        at = self._next_stage(history)
        num_open = sum(trial.is_open for trial in history if trial.stage is not None and trial.stage < at)
        if not num_open:
            return None
        return f"stage {at + 1} of {len(self._stages)} begins when the {num_open} open trials before it have ended"

    def proposes(self, history: History) -> StageBox | None:
        at = self._next_stage(history)
        if not self._is_reviewed or at == 0 or at in history.stages:
            return None
        box = self.box(history, at)
        return StageBox(at, to_bounds(box.space), self._reason(history, at, box))

    def box(self, history: History, stage: int) -> Box:
        """Return the box of a stage: as the history has it, or else derived from the trials so far.

        Args:
            history: the study's search trials and decided boxes.
            stage: index of the stage, from 0.

        Returns:
            The sub-space, and its changes from the previous stage's box; no changes if the history has the box.
        """
        decided = max((at for at in history.stages if at <= stage), default=0)
        box = Box(from_bounds(self._space, history.stages[decided].box) if decided else self._first_box)
        for at in range(decided, stage):
            ended = self._stages[at]
            tried = Tried(ended.fixed, on_grid=ended.sampler == "grid")
            is_kept = ended.keep == 1
            box = (
                Box(box.space) if is_kept else refine(self._space, box.space, self._evidence(history.trials, at), tried)
            )
        return box

    def _next_stage(self, history: History) -> int:
        """Return the stage of the next suggestion.

        It is never earlier than a stage that has begun, even if a larger budget has since extended an earlier stage.
        """
        num_made = Counter(trial.stage for trial in history)
        last = len(self._stages) - 1
        reached = min(max([0, *history.stages, *(at for at in num_made if at is not None)]), last)
        return next((at for at in range(reached, last) if num_made[at] < self._stages[at].trials), last)

    def _reason(self, history: History, at: int, box: Box) -> str:
        """Return how a stage's box was derived, and which parameters the stage fixes."""
        if at in history.stages:
            return history.stages[at].reason
        fixed = [f"{name} is {value} in this stage" for name, value in self._stages[at].fixed.items()]
        return "; ".join([*(box.changes or [self._unchanged(at)]), *fixed])

    def _evidence(self, trials: Sequence[TrialRecord], stage: int) -> Evidence:
        """Return the evidence at the end of `stage`: the finished trials up to it that have comparable values."""
        alike = [trial for trial in self._comparable(trials, stage) if not trial.is_open]
        valued = History(trials=tuple(alike)).finished()
        num_top = math.ceil(self._stages[stage].keep * len(valued))
        infeasible = [trial for trial in alike if trial.infeasible]
        return Evidence([*sorted(valued, key=self._rank), *infeasible], num_top)

    def _comparable(self, trials: Sequence[TrialRecord], stage: int) -> list[TrialRecord]:
        training = self._training(stage)
        return [
            trial
            for trial in trials
            if (trial.stage is None or trial.stage <= stage) and self._training(trial.stage) == training
        ]

    def _training(self, stage: int | None) -> tuple[int | None, Mapping[str, Value]]:
        """Return what makes values comparable: the step that a stage's trials train to, and the stage's overrides.

        Enqueued trials belong to no stage. They train to the maximum, without overrides.
        """
        if stage is None:
            return self._resource_max, {}
        return self._stages[stage].resource or self._resource_max, self._stages[stage].overrides

    def _rank(self, trial: TrialRecord) -> tuple[bool, float, int]:
        """Return a sort key, best first; pruned trials come last, because their values might have got worse."""
        assert trial.value is not None
        sign = -1.0 if self._direction == "maximize" else 1.0
        return trial.state is not TrialState.COMPLETED, sign * trial.value, trial.number

    def _inner(self, box: Space, trials: Sequence[TrialRecord], at: int, number: int, seed: int) -> Suggestion:
        stage = self._stages[at]
        own = [trial for trial in trials if trial.stage == at]
        match stage.sampler:
            case "grid":
                return _next_cell(box, self._comparable(trials, at), number, seed)
            case "random":
                parameters, _ = sample_unseen(box, own, number, seed)
                return Suggestion(parameters, "random within it")
            case "sobol":
                parameters, _ = sample_unseen(box, own, number, seed, first=sobol_sample(box, number, seed))
                return Suggestion(parameters, "evenly within it, by Sobol's sequence")
            case "tpe":
                inside = [trial for trial in self._comparable(trials, at) if _is_inside(box, trial)]
                startup_trials = min(_STARTUP_TRIALS, math.ceil(stage.trials / 2))
                return tpe.propose(box, (self._direction,), inside, number, seed, startup_trials=startup_trials)
            case _:
                assert_never(stage.sampler)

    def _unchanged(self, at: int) -> str:
        if at == 0:
            return "the whole space" if self._first_box == self._space else "the first box of the spec"
        if self._stages[at - 1].keep == 1:
            return f"the box of stage {at}, which keeps all of it"
        return f"the box of stage {at}, because its trials gave no reason to change it"


def with_fixed(space: Space, stage: Stage) -> Space:
    """Return the space with the parameters that a stage fixes as constants."""
    constants = {
        name: ConstantParameter(type="constant", value=value, when=space[name].when)
        for name, value in stage.fixed.items()
        if name in space
    }
    return {**space, **constants}


def _next_cell(box: Space, trials: Sequence[TrialRecord], number: int, seed: int) -> Suggestion:
    """Suggest the first cell of a box's grid that no comparable trial has tried, or else a random sample."""
    cells = grid_cells(box)
    known = config_keys(trial.parameters for trial in trials)
    for cell in range(cells.size):
        if config_key(cells[cell]) not in known:
            return Suggestion(cells[cell], f"grid: cell {cell + 1} of {cells.size}")
    parameters, _ = sample_unseen(box, trials, number, seed)
    return Suggestion(parameters, f"random within it, as all {cells.size} cells of the grid were tried")


def stages_of(spec: StudySpec) -> list[Stage]:
    """Return the stages of a checked spec.

    By default there are two: two thirds of the trials at a quarter of the resource, then the rest at the full resource.
    """
    assert isinstance(spec.sampler, CoarseToFineSamplerSpec)
    if spec.sampler.stages is not None:
        return spec.sampler.stages
    assert spec.budget.trials is not None, "check_coarse_to_fine asks for a budget"
    num_coarse = max(1, round(spec.budget.trials * 2 / 3))
    quarter = math.ceil(spec.resource.max / 4) if spec.resource else None
    return [
        Stage(trials=num_coarse, resource=quarter, sampler="sobol"),
        Stage(trials=max(1, spec.budget.trials - num_coarse), sampler="tpe"),
    ]


def check_coarse_to_fine(spec: StudySpec) -> list[FieldError]:
    """Check that the stages of a spec fit its budget, resource and task."""
    assert isinstance(spec.sampler, CoarseToFineSamplerSpec)
    budget = spec.budget.trials
    errors = [
        FieldError(path=f"sampler.first_{error.path}", message=error.message)
        for error in check_box(spec.space, spec.sampler.first_box or {})
    ]
    if spec.sampler.stages is None:
        if budget is None or budget < 2:
            message = "coarse_to_fine divides a budget into stages; write budget: {trials: 60}, or sampler.stages"
            return [FieldError(path="budget.trials", message=message)]
        return errors
    planned = sum(stage.trials for stage in spec.sampler.stages)
    if budget is not None and planned > budget:
        message = f"the stages take {planned} trials, the budget has {budget}; raise budget.trials or shorten a stage"
        errors.append(FieldError(path="sampler.stages", message=message))
    for at, stage in enumerate(spec.sampler.stages):
        path = f"sampler.stages.{at}.resource"
        if stage.resource is not None and spec.resource is None:
            message = "a stage's resource is a part of the study's; write resource: {name: epoch, max: 20} too"
            errors.append(FieldError(path=path, message=message))
        elif stage.resource is not None and spec.resource is not None and stage.resource > spec.resource.max:
            message = f"{stage.resource} is more than resource.max {spec.resource.max}; raise that or lower this"
            errors.append(FieldError(path=path, message=message))
        if stage.overrides and (spec.task is None or spec.task.train is None):
            message = "overrides are settings of a train task, and the study has none; leave them out"
            errors.append(FieldError(path=f"sampler.stages.{at}.overrides", message=message))
        errors += _check_fixed(spec.space, stage, f"sampler.stages.{at}")
    return errors


def _check_fixed(space: Space, stage: Stage, path: str) -> list[FieldError]:
    """Check the parameters that a stage fixes, and that a grid can list the others."""
    errors = []
    for name, value in stage.fixed.items():
        parameter = space.get(name)
        if parameter is None:
            message = f"is no parameter of the space: {did_you_mean(name, space)}; set other settings by overrides"
            errors.append(FieldError(path=f"{path}.fixed.{name}", message=message))
        elif not contains(parameter, value):
            message = f"{quote(value)} is outside the declared space, which is {describe_domain(parameter)}"
            errors.append(FieldError(path=f"{path}.fixed.{name}", message=message))
    if errors or stage.sampler != "grid":
        return errors
    searched = with_fixed(space, stage)
    if errors := check_grid(searched):
        return errors
    size = grid_cells(searched).size
    if stage.trials > size:
        message = f"the grid of this stage has {size} cells for {stage.trials} trials; write trials: {size}"
        return [FieldError(path=f"{path}.trials", message=message)]
    return []


def _is_inside(box: Space, trial: TrialRecord) -> bool:
    return all(name in box and contains(box[name], value) for name, value in trial.parameters.items())
