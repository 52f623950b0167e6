"""Simulates a whole study with virtual workers and virtual time, using the service's own decision code."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from service.contract.base import Value
from service.contract.report import Action, Verdict
from service.contract.study import Budget, StudySpec
from service.contract.trial import TrialState
from service.domain.budget import BudgetUsage
from service.domain.history import History, Series, TrialRecord
from service.domain.objective import is_better, objective_results
from service.domain.states import TRIAL, TrialEvent
from service.search import decide
from service.search.schedulers import scheduler_of
from service.search.schedulers.rung_scheduler import Promote
from service.search.warm_start import select_spread

Objective = Callable[[Mapping[str, Value], int], Mapping[str, float]]
"""(parameters, step) -> the metrics of that step; steps count from 1."""

Duration = Callable[[Mapping[str, Value], int], float]
"""(parameters, step) -> the duration of that step in seconds."""

Evaluate = Callable[[TrialRecord, int], Mapping[str, float] | None]
"""(trial, step) -> metric -> value of each objective; None if the step is unknown, which ends the trial before it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one trial: when it ended, its value, and the verdict."""

    at: float
    """Virtual seconds since the study began."""
    number: int
    step: int
    value: float
    """Value of the objective; in a multi-objective study, of the first one."""
    verdict: Verdict


@dataclass(frozen=True)
class Simulation:
    """The result of a simulated study: its final history and every step."""

    spec: StudySpec
    history: History
    steps: tuple[Step, ...]
    """All steps of all trials, in the order of time."""
    seconds: float
    """Virtual seconds until the last worker finished."""
    busy_seconds: float
    """Virtual seconds that all workers together spent training."""

    def best_by_time(self) -> Iterator[tuple[float, float]]:
        """Yield (seconds, value) whenever the first objective reached a new best value."""
        best: float | None = None
        for step in self.steps:
            if math.isfinite(step.value) and (best is None or is_better(self.spec.primary_objective, step.value, best)):
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
    """Simulate a checked spec to its end: each worker claims, trains step by step, reports and follows the verdict.

    A trial trains to the spec's resource, or for one step if there is none.

    Args:
        spec: a checked spec.
        objective: the metrics of each step.
        workers: number of virtual workers.
        seed: replaces the sampler's seed.
        duration: seconds per step; one second by default.
        max_steps: ends the study after this many steps of all trials together.
        earlier: trials of the same space; the completed ones are the prior trials of a warm start.
    """
    if seed is not None:
        spec = spec.model_copy(update={"sampler": spec.sampler.model_copy(update={"seed": seed})})

    def measure(trial: TrialRecord, step: int) -> Mapping[str, float]:
        metrics = objective(trial.parameters, step)
        return {each.metric: float(metrics[each.metric]) for each in spec.objectives}

    prior_trials = select_spread(
        [trial for trial in earlier if trial.state is TrialState.COMPLETED], spec.primary_objective.direction
    )
    return _Simulator(spec, measure, duration or _one_second, max_steps, earlier=prior_trials).run(workers)


def replay(spec: StudySpec, recorded: History, *, workers: int = 1) -> Simulation:
    """Simulate the spec's pruner on recorded trials, in their order and with their recorded learning curves.

    A trial is pruned where its record ends, because values beyond it are unknown.
    """
    spec = spec.model_copy(update={"budget": Budget(trials=len(recorded))})

    def measure(trial: TrialRecord, step: int) -> Mapping[str, float] | None:
        """Return the newest value at a step; between sparse reports, the last one holds."""
        series = recorded.trials[trial.number].series
        if not series or step > series[-1][0]:
            return None
        newest = max((point for point in series if point[0] <= step), default=series[0])
        return {spec.primary_objective.metric: newest[1]}

    enqueued = [trial.parameters for trial in recorded]
    return _Simulator(spec, measure, _one_second, None, enqueued=enqueued).run(workers)


def _one_second(parameters: Mapping[str, Value], step: int) -> float:
    del parameters, step
    return 1.0


class _Simulator:
    """The state of one simulation: the history, the running trials, and the virtual clock."""

    def __init__(
        self,
        spec: StudySpec,
        measure: Evaluate,
        duration: Duration,
        max_steps: int | None,
        *,
        enqueued: Sequence[Mapping[str, Value]] = (),
        earlier: tuple[TrialRecord, ...] = (),
    ) -> None:
        self._spec = spec
        self._scheduler = scheduler_of(spec)
        self._measure = measure
        self._duration = duration
        self._max_steps = max_steps
        self._enqueued = enqueued
        self._last = spec.resource.max if spec.resource else 1
        self._history = History(prior_trials=earlier)
        self._curves: dict[int, dict[str, Series]] = {}
        """Trial number -> metric -> values reported so far."""
        self._measured: dict[int, Mapping[str, float]] = {}
        """Trial number -> the metrics of the step that it trains now."""
        self._steps: list[Step] = []
        self._busy: list[tuple[float, int, int]] = []
        """A heap of (end of the current step, count of begun steps as tie-breaker, trial number) of running trials."""
        self._num_begun = 0
        self._busy_seconds = 0.0
        self._now = 0.0

    def run(self, workers: int) -> Simulation:
        """Simulate to the end with `workers` workers."""
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
        self._end_unpromoted()
        return Simulation(self._spec, self._history, tuple(self._steps), self._now, self._busy_seconds)

    def _claim(self) -> bool:
        """Begin or resume a trial; return False if none is available now."""
        number = self._history.next_number
        enqueued = self._enqueued[number] if number < len(self._enqueued) else None
        match decide.next_action(self._history, self._spec, self._used(), enqueued=enqueued):
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
                if made.new_stage is not None:
                    self._history = self._history.with_stage(made.new_stage)
            case Promote() as promotion:
                number = promotion.number
                self._history = self._history.with_trial(promotion.of(self._history.trials[number]))
                self._move(number, TrialEvent.PROMOTED)
            case decide.Propose(stage=proposed):
                self._history = self._history.with_stage(proposed)  # A simulation accepts every proposed box.
                return self._claim()
            case _:
                return False
        self._move(number, TrialEvent.CLAIMED)
        return self._begin_step(number) or self._claim()

    def _begin_step(self, number: int) -> bool:
        """Start the trial's next step; return False if the trial has ended by itself."""
        trial = self._history.trials[number]
        step = (trial.last_step or 0) + 1
        values = self._measure(trial, step)
        if values is None:
            self._end(number, TrialEvent.PRUNED)
            return False
        self._measured[number] = values
        seconds = self._duration(trial.parameters, step)
        self._num_begun += 1
        self._busy_seconds += seconds
        heapq.heappush(self._busy, (self._now + seconds, self._num_begun, number))
        return True

    def _report(self, number: int) -> bool:
        """Report the finished step and follow the verdict; return whether the worker continues with the trial."""
        trial = self._history.trials[number]
        step = (trial.last_step or 0) + 1
        values = self._measured.pop(number)
        curves = self._curves.setdefault(number, {})
        for metric, each in values.items():
            curves[metric] = (*curves.get(metric, ()), (step, each))
        value = values[self._spec.primary_objective.metric]
        self._history = self._history.with_value(number, step, value)
        if self._scheduler is not None and math.isfinite(value):
            trial = self._history.trials[number]
            arrived = self._scheduler.new_rung_results(self._history, number)
            self._history = self._history.with_trial(replace(trial, rung_results=(*trial.rung_results, *arrived)))
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
        ended = objective_results(self._spec.objectives, self._curves.get(number, {}), {})
        values = [each.value for each in ended if each.value is not None]
        is_finite = len(values) == len(ended)
        self._move(
            number,
            event if is_finite else TrialEvent.PRUNED,
            value=values[0] if is_finite else None,
            other_values=tuple(values[1:]) if is_finite else (),
            infeasible=not is_finite,
            finished_at=int(self._now * 1_000_000),
        )

    def _used(self) -> BudgetUsage:
        ahead = sum(ends_at - self._now for ends_at, _, _ in self._busy)
        return BudgetUsage(self._now, self._busy_seconds - ahead)

    def _end_unpromoted(self) -> None:
        """End the paused trials that were not promoted when the search is complete."""
        if decide.completion_reason(self._history, self._spec, self._used()):
            for number, value, _ in decide.unpromoted(self._history, self._spec):
                self._move(number, TrialEvent.NOT_PROMOTED, value=value)

    def _move(self, number: int, event: TrialEvent, **changes: object) -> None:
        trial = self._history.trials[number]
        state = TRIAL.advance(trial.state, event)
        self._history = self._history.with_trial(replace(trial, state=state, **changes))  # type: ignore[arg-type]
