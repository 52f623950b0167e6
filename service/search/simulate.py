"""Plays a whole study against a function, with simulated workers and time, by the code that decides in the service."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from service.contract.base import Value
from service.contract.report import Action, Verdict
from service.contract.study import Budget, StudySpec
from service.contract.trial import TrialState
from service.domain.budget import Used
from service.domain.history import History, Series, TrialRecord
from service.domain.objective import finals, is_better
from service.domain.states import TRIAL, TrialEvent
from service.search import decide
from service.search.halving import Promote, halving_of
from service.search.warm_start import spread

Objective = Callable[[Mapping[str, Value], int], Mapping[str, float]]
"""(parameters, step) -> the metrics of that step; steps count from 1."""

Duration = Callable[[Mapping[str, Value], int], float]
"""(parameters, step) -> how long that step takes; seconds."""

Measure = Callable[[TrialRecord, int], Mapping[str, float] | None]
"""(trial, step) -> the objectives' values by their metrics; none where nothing is known of that step, and the trial
ends before it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one trial: when it was done, what it measured, and what was answered."""

    at: float
    """Seconds since the study began."""
    number: int
    step: int
    value: float
    """Of the objective, of several the first."""
    verdict: Verdict


@dataclass(frozen=True)
class Simulation:
    """A study that was played: how it ended and everything on the way."""

    spec: StudySpec
    history: History
    steps: tuple[Step, ...]
    """In the order of time."""
    seconds: float
    """When the last worker was done."""
    busy_seconds: float
    """What all workers together spent training."""

    def best_by_time(self) -> Iterator[tuple[float, float]]:
        """(seconds, value): each time a better value than all before was measured, and when; of the first objective."""
        best: float | None = None
        for step in self.steps:
            if math.isfinite(step.value) and (best is None or is_better(self.spec.watched, step.value, best)):
                best = step.value
                yield step.at, step.value


def run(
    spec: StudySpec,
    objective: Objective,
    *,
    workers: int,
    seed: int | None = None,
    duration: Duration | None = None,
    max_steps: int | None = None,
    earlier: Sequence[TrialRecord] = (),
) -> Simulation:
    """Play a checked spec to its end: every worker claims, trains step by step, reports and obeys.

    `seed` replaces the sampler's; a step takes a second unless `duration` says otherwise; `max_steps` ends the
    study after so many steps of all trials together. A trial trains to the spec's resource, or for one step. A warm
    start is from the completed trials among `earlier`, of the same space.
    """
    if seed is not None:
        spec = spec.model_copy(update={"sampler": spec.sampler.model_copy(update={"seed": seed})})

    def measure(trial: TrialRecord, step: int) -> Mapping[str, float]:
        metrics = objective(trial.parameters, step)
        return {each.metric: float(metrics[each.metric]) for each in spec.objectives}

    taught = spread([trial for trial in earlier if trial.state is TrialState.COMPLETED], spec.watched.direction)
    return _Play(spec, measure, duration or _one_second, max_steps, earlier=taught).play(workers)


def replay(spec: StudySpec, recorded: History, *, workers: int = 1) -> Simulation:
    """Play the recorded trials in their order, with the curves they had, by the spec's pruner.

    A trial goes on no further than its record, and is pruned where that ends: what was not trained is not made up.
    """
    spec = spec.model_copy(update={"budget": Budget(trials=len(recorded))})

    def measure(trial: TrialRecord, step: int) -> Mapping[str, float] | None:
        """The newest value at a step; where reports were sparse, it stands until the next one."""
        series = recorded.trials[trial.number].series
        if not series or step > series[-1][0]:
            return None
        newest = max((point for point in series if point[0] <= step), default=series[0])
        return {spec.watched.metric: newest[1]}

    enqueued = [trial.parameters for trial in recorded]
    return _Play(spec, measure, _one_second, None, enqueued=enqueued).play(workers)


def _one_second(parameters: Mapping[str, Value], step: int) -> float:
    del parameters, step
    return 1.0


class _Play:
    """The state of one simulation: the history, who trains what, and the clock."""

    def __init__(
        self,
        spec: StudySpec,
        measure: Measure,
        duration: Duration,
        max_steps: int | None,
        *,
        enqueued: Sequence[Mapping[str, Value]] = (),
        earlier: tuple[TrialRecord, ...] = (),
    ) -> None:
        self._spec = spec
        self._halving = halving_of(spec)
        self._measure = measure
        self._duration = duration
        self._max_steps = max_steps
        self._enqueued = enqueued
        self._last = spec.resource.max if spec.resource else 1
        self._history = History(earlier=earlier)
        self._curves: dict[int, dict[str, Series]] = {}
        """What each trial has reported so far, by its number and the metric."""
        self._steps: list[Step] = []
        self._busy: list[tuple[float, int, int]] = []
        """(when the step ends, how many steps had begun by then, number) of the trials that train."""
        self._num_begun = 0
        self._busy_seconds = 0.0
        self._now = 0.0

    def play(self, workers: int) -> Simulation:
        """Play to the end with so many workers."""
        num_idle = workers
        while True:
            while num_idle and self._claim():
                num_idle -= 1
            if not self._busy:
                break
            self._now, _, number = heapq.heappop(self._busy)
            if not self._report(number):
                num_idle += 1
            if self._max_steps is not None and len(self._steps) >= self._max_steps:
                break
        self._leave_behind()
        return Simulation(self._spec, self._history, tuple(self._steps), self._now, self._busy_seconds)

    def _claim(self) -> bool:
        """Begin or resume a trial; False when there is none now."""
        number = self._history.next_number
        enqueued = self._enqueued[number] if number < len(self._enqueued) else None
        match decide.next(self._history, self._spec, self._used(), enqueued=enqueued):
            case decide.Suggest(number=number, suggestion=made):
                trial = TrialRecord(
                    number,
                    TRIAL.initial,
                    made.parameters,
                    stage=made.stage,
                    notes=made.notes,
                    run_until=made.run_until or self._last,
                )
                self._history = replace(self._history, trials=(*self._history.trials, trial))
                if made.begins is not None:
                    self._history = self._history.with_stage(made.begins)
            case Promote() as promotion:
                number = promotion.number
                self._history = self._history.with_trial(promotion.of(self._history.trials[number]))
                self._move(number, TrialEvent.PROMOTED)
            case decide.Propose(stage=proposed):
                self._history = self._history.with_stage(proposed)  # nobody is here to say otherwise
                return self._claim()
            case _:
                return False
        self._move(number, TrialEvent.CLAIMED)
        return self._begin_step(number) or self._claim()

    def _begin_step(self, number: int) -> bool:
        """Let the trial's next step run; False when it has ended by itself."""
        trial = self._history.trials[number]
        step = (trial.last_step or 0) + 1
        if self._measure(trial, step) is None:
            self._end(number, TrialEvent.PRUNED)
            return False
        seconds = self._duration(trial.parameters, step)
        self._num_begun += 1
        self._busy_seconds += seconds
        heapq.heappush(self._busy, (self._now + seconds, self._num_begun, number))
        return True

    def _report(self, number: int) -> bool:
        """Tell the value of the step that was done, and obey the verdict; whether the worker goes on with the trial."""
        trial = self._history.trials[number]
        step = (trial.last_step or 0) + 1
        values = self._measure(trial, step)
        assert values is not None
        curves = self._curves.setdefault(number, {})
        for metric, each in values.items():
            curves[metric] = (*curves.get(metric, ()), (step, each))
        value = values[self._spec.watched.metric]
        self._history = self._history.with_point(number, step, value)
        if self._halving is not None and math.isfinite(value):
            trial = self._history.trials[number]
            arrived = self._halving.arrivals(self._history, number)
            self._history = self._history.with_trial(replace(trial, arrivals=(*trial.arrivals, *arrived)))
        verdict = decide.judge(self._history, self._spec, number)
        self._steps.append(Step(self._now, number, step, value, verdict))
        self._history = replace(self._history, revision=self._history.revision + 1)
        match verdict.action:
            case Action.PAUSE:
                self._move(number, TrialEvent.PAUSED)
            case Action.STOP:
                self._end(number, TrialEvent.PRUNED)
            case Action.CONTINUE if step == self._history.trials[number].run_until:
                self._end(number, TrialEvent.COMPLETED)
            case Action.CONTINUE:
                return self._begin_step(number)
        return False

    def _end(self, number: int, event: TrialEvent) -> None:
        ended = finals(self._spec.objectives, self._curves.get(number, {}), {})
        values = [each.value for each in ended if each.value is not None]
        is_finite = len(values) == len(ended)
        self._move(
            number,
            event if is_finite else TrialEvent.PRUNED,
            value=values[0] if is_finite else None,
            further=tuple(values[1:]) if is_finite else (),
            infeasible=not is_finite,
            finished_at=int(self._now * 1_000_000),
        )

    def _used(self) -> Used:
        ahead = sum(ends_at - self._now for ends_at, _, _ in self._busy)
        return Used(self._now, self._busy_seconds - ahead)

    def _leave_behind(self) -> None:
        """What is paused when nothing is left to do stays behind."""
        if decide.over(self._history, self._spec, self._used()):
            for number, value, _ in decide.left_behind(self._history, self._spec):
                self._move(number, TrialEvent.NOT_PROMOTED, value=value)

    def _move(self, number: int, event: TrialEvent, **changes: object) -> None:
        trial = self._history.trials[number]
        state = TRIAL.advance(trial.state, event)
        self._history = self._history.with_trial(replace(trial, state=state, **changes))  # type: ignore[arg-type]
