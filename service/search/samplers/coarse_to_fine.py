"""Coarse to fine: a short, wide stage first, then ever longer stages in ever smaller boxes around the best trials.

A box is derived from the history when its stage begins, or is proposed to a person; from then on it stands there.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import assert_never

from service.contract.base import Direction, Value
from service.contract.problem import FieldError
from service.contract.sampler import CoarseToFineSampler, Stage
from service.contract.space import Space
from service.contract.study import StudySpec
from service.contract.trial import TrialState
from service.domain.history import History, StageBox, Suggestion, TrialRecord
from service.domain.parameter import fits
from service.search.bounds import in_numbers, in_space
from service.search.boxes import Box, Evidence, narrow
from service.search.draws import new_draw, sobol_draw
from service.search.samplers import tpe
from service.search.samplers.base import Sampler, before

_STARTUP_TRIALS = 10
"""Random trials of a stage before its model is used; at most half of the stage."""


class CoarseToFine(Sampler):
    """Stages with a number of trials, a resource and an inner sampler each (Karpathy, CS231n: coarse, then fine)."""

    def __init__(
        self,
        space: Space,
        direction: Direction,
        stages: Sequence[Stage],
        *,
        resource_max: int | None,
        last_is_open: bool,
        is_reviewed: bool,
    ) -> None:
        self._space = space
        self._direction = direction
        self._stages = stages
        self._resource_max = resource_max
        self._last_is_open = last_is_open
        self._is_reviewed = is_reviewed

    @classmethod
    def of(cls, spec: StudySpec) -> CoarseToFine:
        """Build it for a checked spec; where there is a budget, the last stage goes on until that is spent."""
        assert isinstance(spec.sampler, CoarseToFineSampler)
        return cls(
            spec.space,
            spec.watched.direction,
            stages_of(spec),
            resource_max=spec.resource.max if spec.resource else None,
            last_is_open=spec.budget.trials is not None,
            is_reviewed=spec.sampler.review,
        )

    def suggest(self, history: History, number: int, seed: int) -> Suggestion:
        known = replace(history, trials=tuple(before(history, number)))
        at = self._next_stage(known)
        stage = self._stages[at]
        box = self.box(known, at)
        reason = self._reason(known, at, box)
        inner = self._inner(box.space, known.trials, at, number, seed)
        numbers = in_numbers(box.space)
        return Suggestion(
            inner.parameters,
            f"stage {at + 1} of {len(self._stages)}: {reason}; {inner.reason}",
            notes={"box": numbers},
            stage=at,
            run_until=stage.resource,
            begins=StageBox(at, numbers, reason) if at and at not in known.stages else None,
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
        return StageBox(at, in_numbers(box.space), self._reason(history, at, box))

    def box(self, history: History, stage: int) -> Box:
        """The sub-space that a stage (from 0) searches: as it was decided, or else by what is known now.

        With what it changes against the last box that was decided.
        """
        decided = max((at for at in history.stages if at <= stage), default=0)
        box = Box(in_space(self._space, history.stages[decided].box) if decided else self._space)
        for at in range(decided, stage):
            box = narrow(self._space, box.space, self._evidence(history.trials, at))
        return box

    def _next_stage(self, history: History) -> int:
        """The stage of the next suggestion: never back, should a larger budget have stretched an earlier one."""
        num_made = Counter(trial.stage for trial in history)
        last = len(self._stages) - 1
        reached = min(max([0, *history.stages, *(at for at in num_made if at is not None)]), last)
        return next((at for at in range(reached, last) if num_made[at] < self._stages[at].trials), last)

    def _reason(self, history: History, at: int, box: Box) -> str:
        """How a stage's box came about."""
        return history.stages[at].reason if at in history.stages else "; ".join(box.changes) or self._unchanged(at)

    def _evidence(self, trials: Sequence[TrialRecord], stage: int) -> Evidence:
        """What is known at the end of `stage`: its own trials, and all others before it that trained as long."""
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
        """What makes values comparable: the step that a stage's trials train to, and what differs in their task.

        Enqueued trials, of no stage, train to the maximum and as the task says.
        """
        if stage is None:
            return self._resource_max, {}
        return self._stages[stage].resource or self._resource_max, self._stages[stage].overrides

    def _rank(self, trial: TrialRecord) -> tuple[bool, float, int]:
        """Sort key, best first: a pruned trial's value is one that it might not have kept."""
        assert trial.value is not None
        sign = -1.0 if self._direction == "maximize" else 1.0
        return trial.state is not TrialState.COMPLETED, sign * trial.value, trial.number

    def _inner(self, box: Space, trials: Sequence[TrialRecord], at: int, number: int, seed: int) -> Suggestion:
        stage = self._stages[at]
        own = [trial for trial in trials if trial.stage == at]
        match stage.sampler:
            case "random":
                parameters, _ = new_draw(box, own, number, seed)
                return Suggestion(parameters, "random within it")
            case "sobol":
                parameters, _ = new_draw(box, own, number, seed, first=sobol_draw(box, number, seed))
                return Suggestion(parameters, "evenly within it, by Sobol's sequence")
            case "tpe":
                inside = [trial for trial in self._comparable(trials, at) if _is_inside(box, trial)]
                startup_trials = min(_STARTUP_TRIALS, math.ceil(stage.trials / 2))
                return tpe.propose(box, (self._direction,), inside, number, seed, startup_trials=startup_trials)
            case _:
                assert_never(stage.sampler)

    def _unchanged(self, at: int) -> str:
        if at == 0:
            return "the whole space"
        return f"the box of stage {at}, which its trials gave no reason to change"


def stages_of(spec: StudySpec) -> list[Stage]:
    """The stages a spec asks for; by default two thirds of the budget at a quarter of the resource, then the rest."""
    assert isinstance(spec.sampler, CoarseToFineSampler)
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
    """What keeps the stages of a spec from being a search."""
    assert isinstance(spec.sampler, CoarseToFineSampler)
    budget = spec.budget.trials
    if spec.sampler.stages is None:
        if budget is None or budget < 2:
            message = "coarse_to_fine divides a budget into stages; write budget: {trials: 60}, or sampler.stages"
            return [FieldError(path="budget.trials", message=message)]
        return []
    errors = []
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
    return errors


def _is_inside(box: Space, trial: TrialRecord) -> bool:
    return all(name in box and fits(box[name], value) for name, value in trial.parameters.items())
