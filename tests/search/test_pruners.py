"""Properties of every pruner, and each rule on worked numbers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from service.contract.report import Action
from service.contract.study import StudySpec
from service.contract.trial import TrialState
from service.domain.history import History, TrialRecord
from service.search import decide
from tests.search.studies import curve, record, study

PRUNERS: dict[str, Any] = {
    "none": "none",
    "median": {"name": "median", "startup_trials": 3, "warmup_steps": 2},
    "percentile": {"name": "percentile", "percentile": 25, "startup_trials": 3, "warmup_steps": 2},
    "threshold": {"name": "threshold", "lower": -10.0, "upper": 10.0},
    "patience": {"name": "patience", "patience": 2},
}

every = pytest.mark.parametrize("pruner", PRUNERS.values(), ids=PRUNERS)
directions = pytest.mark.parametrize("direction", ["minimize", "maximize"])


def spec_of(pruner: Any, direction: str = "minimize", **changes: Any) -> StudySpec:
    return study(pruner=pruner, objective={"metric": "val/loss", "direction": direction}, **changes)


def against(*curves: tuple[float, ...], judged: tuple[float, ...]) -> History:
    """Completed trials with these curves, and behind them a running one to judge."""
    others = [record(at, value=values[-1], series=curve(*values)) for at, values in enumerate(curves)]
    return History(trials=(*others, record(len(others), series=curve(*judged))))


@every
@directions
def test_the_best_trial_of_all_continues(pruner: Any, direction: str) -> None:
    sign = 1.0 if direction == "minimize" else -1.0
    history = against(*[(sign * 3.0, sign * (2.0 + at)) for at in range(6)], judged=(sign * 3.0, sign * 0.5))
    verdict = decide.judge(history, spec_of(pruner, direction), 6)
    assert (verdict.action, verdict.step) == (Action.CONTINUE, 2)


@every
def test_the_first_trial_continues(pruner: Any) -> None:
    assert decide.judge(against(judged=(9.0, 8.0, 7.0)), spec_of(pruner), 0).action is Action.CONTINUE


@every
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_number_stops_the_trial(pruner: Any, value: float) -> None:
    verdict = decide.judge(against(judged=(1.0, value)), spec_of(pruner), 0)
    assert verdict.action is Action.STOP
    assert verdict.reason == f"diverged: val/loss is {value} at step 2"


@every
def test_others_that_diverged_failed_or_never_reported_do_no_harm(pruner: Any) -> None:
    odd = [
        TrialRecord(0, TrialState.PRUNED, {}, curve(1.0, math.nan), infeasible=True),
        TrialRecord(1, TrialState.FAILED, {}, curve(1.0, math.nan)),
        TrialRecord(2, TrialState.RUNNING, {}),
        TrialRecord(3, TrialState.FAILED, {}, curve(math.nan, math.nan, math.nan)),
    ]
    history = History(trials=(*odd, record(4, series=curve(3.0, 2.0, 1.0))))
    assert decide.judge(history, spec_of(pruner), 4).action is Action.CONTINUE


@every
def test_a_verdict_depends_on_its_arguments_alone(pruner: Any) -> None:
    history = against((1.0, 1.0), (2.0, 2.0), (3.0, 3.0), judged=(3.0, 2.5))
    before = repr(history)
    first = decide.judge(history, spec_of(pruner), 3)
    assert first == decide.judge(history, spec_of(pruner), 3)
    assert repr(history) == before


@every
def test_nothing_is_left_to_save_at_the_last_step(pruner: Any) -> None:
    history = against((1.0, 1.0), (2.0, 2.0), (3.0, 3.0), judged=(9.0, 9.0))
    verdict = decide.judge(history, spec_of(pruner, resource={"name": "epoch", "max": 2}), 3)
    assert (verdict.action, verdict.reason) == (Action.CONTINUE, "step 2 is the last")


@every
def test_a_short_stage_ends_at_its_own_last_step(pruner: Any) -> None:
    spec = spec_of(pruner, sampler="coarse_to_fine", resource={"name": "epoch", "max": 8})
    history = against((1.0, 1.0), (2.0, 2.0), (3.0, 3.0), judged=(9.0, 9.0))
    coarse = record(3, series=curve(9.0, 9.0), stage=0)
    verdict = decide.judge(History(trials=(*history.trials[:3], coarse)), spec, 3)
    assert verdict.reason == "step 2 is the last"


class TestMedian:
    """The rule on worked numbers."""

    spec = spec_of(PRUNERS["median"])

    def test_worse_than_the_median_is_stopped_with_both_numbers(self) -> None:
        history = against((5.0, 1.0, 9.0), (5.0, 2.0, 0.0), (5.0, 3.0, 0.0), judged=(5.0, 2.5))
        verdict = decide.judge(history, self.spec, 3)
        assert verdict.action is Action.STOP
        assert verdict.reason == "best 2.5 by step 2 is above the median 2 of 3 others"

    def test_the_median_itself_continues(self) -> None:
        verdict = decide.judge(against((5.0, 1.0), (5.0, 2.0), (5.0, 3.0), judged=(5.0, 2.0)), self.spec, 3)
        assert verdict.action is Action.CONTINUE
        assert verdict.reason == "best 2 by step 2 is not above the median 2 of 3 others"

    def test_a_trial_is_judged_by_its_best_and_not_its_newest_value(self) -> None:
        verdict = decide.judge(against((5.0, 3.0), (5.0, 3.0), (5.0, 3.0), judged=(1.0, 9.0)), self.spec, 3)
        assert verdict.action is Action.CONTINUE

    def test_larger_is_better_when_maximizing(self) -> None:
        spec = spec_of(PRUNERS["median"], "maximize")
        verdict = decide.judge(against((0.1, 0.5), (0.1, 0.6), (0.1, 0.7), judged=(0.1, 0.55)), spec, 3)
        assert verdict.action is Action.STOP
        assert verdict.reason == "best 0.55 by step 2 is below the median 0.6 of 3 others"

    def test_no_trial_is_judged_during_warm_up(self) -> None:
        verdict = decide.judge(against((1.0,), (1.0,), (1.0,), judged=(9.0,)), self.spec, 3)
        assert verdict.reason == "step 1 comes before step 2, the first that is judged"

    def test_infeasible_trials_are_no_measure(self) -> None:
        history = against((1.0, 1.0), (1.0, 1.0), (1.0, 1.0), judged=(9.0, 9.0))
        infeasible = tuple(replace(trial, infeasible=True) for trial in history.trials[:3])
        verdict = decide.judge(History(trials=(*infeasible, history.trials[3])), self.spec, 3)
        assert verdict.action is Action.CONTINUE

    def test_a_step_that_too_few_reached_is_not_judged(self) -> None:
        verdict = decide.judge(against((1.0, 1.0), (1.0, 1.0), (1.0,), judged=(9.0, 9.0)), self.spec, 3)
        assert verdict.reason == "2 other trials reached step 2, 3 are needed to judge"


class TestPercentile:
    """The rule on worked numbers: of nine others with bests 1 ... 9, the best quarter ends at 3."""

    nine = tuple((20.0, float(best)) for best in range(1, 10))

    @pytest.mark.parametrize(
        ("percentile", "limit"), [(25, 3.0), (50, 5.0), (10, 1.8), (90, 8.2), (12.5, 2.0), (0.001, 1.00008)]
    )
    def test_the_limit_is_interpolated_between_the_others_best_first(self, percentile: float, limit: float) -> None:
        spec = spec_of({"name": "percentile", "percentile": percentile})
        for judged, action in ((limit - 1e-4, Action.CONTINUE), (limit + 1e-4, Action.STOP)):
            assert decide.judge(against(*self.nine, judged=(20.0, judged)), spec, 9).action is action

    def test_larger_is_better_when_maximizing(self) -> None:
        history = against(*self.nine, judged=(0.0, 6.9))
        flat = tuple(replace(trial, series=((1, 0.0), trial.series[1])) for trial in history.trials)
        verdict = decide.judge(History(trials=flat), spec_of("percentile", "maximize"), 9)
        assert verdict.action is Action.STOP
        assert verdict.reason == "best 6.9 by step 2 is below the limit of the best 25 %, 7 of 9 others"

    def test_at_fifty_it_is_the_median_rule(self) -> None:
        for judged in (4.9, 5.0, 5.1):
            history = against(*self.nine, judged=(20.0, judged))
            at_fifty = decide.judge(history, spec_of({"name": "percentile", "percentile": 50}), 9)
            assert at_fifty == decide.judge(history, spec_of("median"), 9)


class TestThreshold:
    """The rule on worked numbers."""

    spec = spec_of({"name": "threshold", "lower": 0.0, "upper": 5.0, "warmup_steps": 2})

    @pytest.mark.parametrize(
        ("judged", "action", "reason"),
        [
            ((9.0,), Action.CONTINUE, "step 1 comes before step 2, the first that is judged"),
            ((9.0, 5.0), Action.CONTINUE, "5 at step 2 is within the limits"),
            ((9.0, 0.0), Action.CONTINUE, "0 at step 2 is within the limits"),
            ((1.0, 5.01), Action.STOP, "5.01 at step 2 is above the threshold 5"),
            ((1.0, -0.5), Action.STOP, "-0.5 at step 2 is below the threshold 0"),
        ],
    )
    def test_a_value_beyond_a_limit_stops_the_trial(
        self, judged: tuple[float, ...], action: Action, reason: str
    ) -> None:
        verdict = decide.judge(against(judged=judged), self.spec, 0)
        assert (verdict.action, verdict.reason) == (action, reason)

    def test_one_limit_is_enough(self) -> None:
        only = spec_of({"name": "threshold", "lower": 0.5})
        assert decide.judge(against(judged=(0.4,)), only, 0).action is Action.STOP
        assert decide.judge(against(judged=(1e9,)), only, 0).action is Action.CONTINUE


class TestPatience:
    """The rule on worked numbers."""

    def judged(self, *values: float, direction: str = "minimize", **options: Any) -> Any:
        spec = spec_of({"name": "patience", "patience": 3, **options}, direction)
        return decide.judge(against(judged=values), spec, 0)

    def test_a_trial_is_stopped_when_its_best_is_as_old_as_patience_lasts(self) -> None:
        early = self.judged(3.0, 1.0, 2.0, 2.0)
        assert early.action is Action.CONTINUE
        assert early.reason == "the best, 1, is 2 steps old, and the patience is 3 steps"
        late = self.judged(3.0, 1.0, 2.0, 2.0, 1.0)
        assert late.action is Action.STOP
        assert late.reason == "the best, 1, is 3 steps old, and the patience is 3 steps"

    def test_each_improvement_restarts_the_patience(self) -> None:
        assert self.judged(3.0, 3.0, 3.0, 2.0, 2.0, 2.0).action is Action.CONTINUE

    def test_small_steps_add_up_to_an_improvement(self) -> None:
        assert self.judged(1.0, 0.96, 0.92, 0.88, min_delta=0.1).action is Action.CONTINUE
        assert self.judged(1.0, 0.99, 0.98, 0.97, min_delta=0.1).action is Action.STOP

    def test_larger_is_better_when_maximizing(self) -> None:
        assert self.judged(0.1, 0.2, 0.3, 0.4, direction="maximize").action is Action.CONTINUE
        assert self.judged(0.4, 0.3, 0.2, 0.1, direction="maximize").action is Action.STOP

    def test_steps_are_counted_and_not_reports(self) -> None:
        sparse = record(0, series=((10, 1.0), (12, 1.0), (13, 1.0)))
        spec = spec_of({"name": "patience", "patience": 3})
        assert decide.judge(History(trials=(sparse,)), spec, 0).action is Action.STOP
