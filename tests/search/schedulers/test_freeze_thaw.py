"""Freeze-thaw: promotions and suggestions compete, guards hold, and decisions depend on the history alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from service.contract.base import Value
from service.contract.study import StudySpec
from service.contract.trial import TrialState
from service.domain.history import History, RungResult, TrialRecord
from service.search import decide
from service.search.replay import simulate
from service.search.replay.plan import plan
from service.search.schedulers import scheduler_of
from service.search.schedulers.freeze_thaw import COMPLETION_PERIOD, STARTUP_TRIALS, FreezeThaw
from service.search.schedulers.rung_scheduler import Promote
from service.search.validation import check_strategy
from tests.search.studies import record, study

SPACE: dict[str, Any] = {
    "x": {"type": "float", "low": 0.0, "high": 1.0},
    "kind": {"type": "categorical", "choices": ["a", "b"]},
}


def spec_of(**changes: Any) -> StudySpec:
    return study(
        SPACE,
        **{
            "sampler": "auto",
            "pruner": "freeze_thaw",
            "resource": {"name": "epoch", "max": 20},
            "budget": {"resource": 160},
            **changes,
        },
    )


def scheduler(spec: StudySpec) -> FreezeThaw:
    found = scheduler_of(spec)
    assert isinstance(found, FreezeThaw)
    return found


def curve(parameters: Mapping[str, Value], step: int) -> dict[str, float]:
    """A loss that falls towards a value that is best at x = .3 with kind a."""
    x = parameters["x"]
    assert isinstance(x, float)
    end = 0.1 + (x - 0.3) ** 2 + (0.2 if parameters["kind"] == "b" else 0.0)
    return {"val/loss": end + math.exp(-step / 4)}


def paused(number: int, x: float, *values: float, rungs: tuple[int, ...]) -> TrialRecord:
    """A trial that pauses at the last of `rungs`, which it has reached with these values."""
    results = tuple(RungResult(rung, value, 1, 1) for rung, value in zip(rungs, values, strict=True))
    series = tuple(zip(rungs, values, strict=True))
    return record(
        number, {"x": x, "kind": "a"}, state=TrialState.PAUSED, series=series, rung_results=results, run_until=rungs[-1]
    )


def cohort() -> History:
    """Eight paused trials at the first rung whose losses grow with x, and one completed trial that is bad."""
    trials = [paused(at, at / 8, 0.5 + at / 8, rungs=(2,)) for at in range(8)]
    last = record(8, {"x": 1.0, "kind": "b"}, 1.2, series=((2, 1.6), (6, 1.3), (20, 1.2)))
    return History(trials=(*trials, last))


def test_the_default_rungs_are_a_tenth_and_three_tenths() -> None:
    assert scheduler(spec_of()).rungs.steps == (2, 6, 20)
    assert scheduler(spec_of(resource={"name": "epoch", "max": 2})).rungs.steps == (1, 2)
    assert scheduler(spec_of(pruner={"name": "freeze_thaw", "rungs": [4, 5]})).rungs.steps == (4, 5, 20)


def test_the_first_trials_are_the_centre_and_sobol_points() -> None:
    history = History()
    for number in range(STARTUP_TRIALS):
        decision = decide.next_action(history, spec_of())
        assert isinstance(decision, decide.Suggest)
        assert decision.suggestion.run_until == 2
        assert decision.suggestion.reason.startswith("freeze_thaw startup: ")
        if number == 0:
            assert decision.suggestion.parameters["x"] == 0.5
        x = decision.suggestion.parameters["x"]
        assert isinstance(x, float)
        history = replace(history, trials=(*history.trials, paused(number, x, x, rungs=(2,))))


def test_the_paused_trial_that_is_expected_to_end_best_is_promoted() -> None:
    decision = decide.next_action(cohort(), spec_of(budget={"trials": 9, "resource": 160}))
    assert isinstance(decision, Promote)
    assert decision.number in (0, 1)
    assert decision.run_until == 6
    assert decision.reason.startswith("promoted to step 6: expected to end at ")
    assert "best so far 1.2" in decision.reason


@pytest.mark.parametrize("sampler", ["auto", "random"])
def test_a_new_configuration_competes_with_the_paused_trials(sampler: str) -> None:
    """All that are paused have shown to be bad, so a new one is begun, with what it is expected to reach."""
    trials = [paused(at, 0.8 + at / 50, 2.0, 2.0, rungs=(2, 6)) for at in range(8)]
    best = record(8, {"x": 0.2, "kind": "a"}, 0.2, series=((2, 0.7), (6, 0.4), (20, 0.2)))
    decision = decide.next_action(History(trials=(*trials, best)), spec_of(sampler=sampler))
    assert isinstance(decision, decide.Suggest)
    assert "expected to end at" in decision.suggestion.reason
    assert "freeze_thaw" in decision.suggestion.notes


def test_decisions_depend_on_the_history_alone() -> None:
    one, other = (decide.next_action(cohort(), spec_of()) for _ in range(2))
    assert one == other


def test_maximizing_is_minimizing_the_negative() -> None:
    history = cohort()
    turned = History(
        trials=tuple(
            replace(
                trial,
                value=None if trial.value is None else -trial.value,
                series=tuple((step, -value) for step, value in trial.series),
                rung_results=tuple(replace(result, value=-result.value) for result in trial.rung_results),
            )
            for trial in history
        )
    )
    limits = {"trials": 9, "resource": 160}
    one = decide.next_action(history, spec_of(budget=limits))
    other = decide.next_action(
        turned, spec_of(budget=limits, objective={"metric": "val/loss", "direction": "maximize"})
    )
    assert isinstance(one, Promote)
    assert isinstance(other, Promote)
    assert one.number == other.number


def test_an_enqueued_configuration_is_tried_before_the_model_decides() -> None:
    decision = decide.next_action(cohort(), spec_of(), enqueued={"x": 0.9, "kind": "a"})
    assert isinstance(decision, decide.Suggest)
    assert decision.suggestion.parameters == {"x": 0.9, "kind": "a"}
    assert decision.suggestion.run_until == 2


def test_values_that_are_infinite_equal_or_missing_are_no_trouble() -> None:
    trials = [
        paused(0, 0.1, 1.0, rungs=(2,)),
        paused(1, 0.2, 1.0, rungs=(2,)),
        record(2, {"x": 0.3, "kind": "b"}, state=TrialState.PRUNED, series=((1, math.inf),), infeasible=True),
        record(3, {"x": 0.4, "kind": "b"}, state=TrialState.FAILED, series=((1, math.nan),)),
        paused(4, 0.5, 1e308, rungs=(2,)),
        *(record(at, {"x": at / 10, "kind": "a"}, state=TrialState.RUNNING, run_until=2) for at in range(5, 9)),
    ]
    assert isinstance(decide.next_action(History(trials=tuple(trials)), spec_of()), decide.Suggest | Promote)


@pytest.mark.parametrize("workers", [1, 8])
def test_a_search_spends_its_budget_and_finds_the_best_region(workers: int) -> None:
    """No more than the last segment of each worker goes beyond the budget, and trials complete all along."""
    spec = spec_of(budget={"resource": 240})
    played = simulate.run(spec, curve, workers=workers)
    spent = len(played.steps)
    assert 240 <= spent < 240 + 14 * workers
    completed = [trial for trial in played.history if trial.state is TrialState.COMPLETED]
    assert len(completed) >= (240 - 14 * workers) // (COMPLETION_PERIOD * 20)
    assert min(trial.value for trial in completed if trial.value is not None) < 0.115
    assert len({tuple(sorted(trial.parameters.items())) for trial in played.history}) == len(played.history)
    assert all(trial.state is not TrialState.PAUSED for trial in played.history)


def test_a_promotion_is_confirmed_while_its_trial_is_paused_and_little_has_changed() -> None:
    spec, known = spec_of(budget={"trials": 9, "resource": 160}), cohort()
    promotion = decide.next_action(known, spec)
    assert isinstance(promotion, Promote)
    freeze_thaw = scheduler(spec)
    assert freeze_thaw.confirmed(known, known, promotion) == promotion
    taken = known.with_trial(replace(known.trials[promotion.number], state=TrialState.RUNNING))
    assert freeze_thaw.confirmed(known, taken, promotion) is None
    new = tuple(paused(9 + at, 0.9, 1.0, rungs=(2,)) for at in range(9))
    assert freeze_thaw.confirmed(known, replace(known, trials=(*known.trials, *new)), promotion) is None


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"budget": {"trials": 50}}, "budget", "resource: 250"),
        ({"pruner": {"name": "freeze_thaw", "rungs": [6, 2]}}, "pruner.rungs", "ascending"),
        ({"pruner": {"name": "freeze_thaw", "rungs": [2, 20]}}, "pruner.rungs", "below the last one, 20"),
        ({"resource": None}, "resource", "needs the last step"),
        ({"sampler": "coarse_to_fine"}, "pruner.name", "coarse_to_fine"),
        (
            {"objective": [{"metric": name, "direction": "minimize"} for name in ("a", "b")]},
            "pruner.name",
            "one objective",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_a_remedy(changes: dict[str, Any], path: str, words: str) -> None:
    found = {error.path: error.message for error in check_strategy(spec_of(**changes))}
    assert words in found[path]


def test_the_plan_is_the_budget_of_steps() -> None:
    planned = plan(spec_of(budget={"trials": 100, "resource": 160}))
    assert planned.num_steps == 160
    assert any("freeze_thaw" in note for note in planned.notes)
