"""The simulator plays whole studies by the service's code in simulated time, reproducibly from a seed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

from service.contract.base import Value
from service.contract.report import Action
from service.contract.study import StudySpec
from service.contract.trial import TrialState
from service.domain.history import History
from service.search.replay import simulate
from tests.search.studies import record, study

LINE: dict[str, Any] = {"x": {"type": "float", "low": 0.0, "high": 1.0}}
SPECS: dict[str, dict[str, Any]] = {
    "random": {"sampler": "random"},
    "tpe and median": {"sampler": {"name": "tpe", "startup_trials": 4}, "pruner": "median"},
    "coarse to fine": {"sampler": "coarse_to_fine"},
    "asha": {"sampler": "random", "pruner": "asha"},
    "hyperband": {"sampler": "random", "pruner": "hyperband"},
}


def spec_of(**changes: Any) -> StudySpec:
    return study(LINE, **{"resource": {"name": "epoch", "max": 9}, "budget": {"trials": 12}, **changes})


def bowl(parameters: Mapping[str, Value], step: int) -> dict[str, float]:
    x = parameters["x"]
    assert isinstance(x, float)
    return {"val/loss": (x - 0.3) ** 2 + 1 / step}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("workers", [1, 4])
def test_any_study_is_played_to_its_end_and_the_same_from_the_same_seed(spec: dict[str, Any], workers: int) -> None:
    played = simulate.run(spec_of(**spec), bowl, workers=workers, seed=3)
    assert [trial.number for trial in played.history] == list(range(12))
    assert not any(trial.is_open for trial in played.history)
    assert len({(step.number, step.step) for step in played.steps}) == len(played.steps)
    assert [step.at for step in played.steps] == sorted(step.at for step in played.steps)
    assert played == simulate.run(spec_of(**spec), bowl, workers=workers, seed=3)
    assert played.steps != simulate.run(spec_of(**spec), bowl, workers=workers, seed=4).steps


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_the_objective_is_computed_once_per_step(spec: dict[str, Any]) -> None:
    """It may be expensive, and a noisy one would be judged by another value than the one that is recorded."""
    calls: list[int] = []

    def counted(parameters: Mapping[str, Value], step: int) -> dict[str, float]:
        calls.append(step)
        return bowl(parameters, step)

    played = simulate.run(spec_of(**spec), counted, workers=3)
    assert len(calls) == len(played.steps)


def test_time_passes_as_the_steps_take_and_workers_share_it() -> None:
    def duration(parameters: Mapping[str, Value], step: int) -> float:
        del parameters
        return 2.0 if step == 1 else 1.0

    alone = simulate.run(spec_of(sampler="random"), bowl, workers=1, duration=duration)
    together = simulate.run(spec_of(sampler="random"), bowl, workers=4, duration=duration)
    assert (alone.seconds, alone.busy_seconds) == (120.0, 120.0)
    assert (together.seconds, together.busy_seconds) == (30.0, 120.0)


def test_the_best_by_time_only_gets_better() -> None:
    best = list(simulate.run(spec_of(sampler="random"), bowl, workers=2).best_by_time())
    assert [value for _, value in best] == sorted((value for _, value in best), reverse=True)
    assert best[0][0] == 1.0


def test_it_ends_when_so_many_steps_were_made() -> None:
    played = simulate.run(spec_of(sampler="random"), bowl, workers=3, max_steps=20)
    assert len(played.steps) == 20
    assert any(trial.is_open for trial in played.history)


def test_a_diverging_trial_is_stopped_and_infeasible() -> None:
    played = simulate.run(
        spec_of(sampler="random"), lambda _, step: {"val/loss": math.nan if step == 2 else 1.0}, workers=1
    )
    assert {(trial.state, trial.infeasible, trial.last_step) for trial in played.history} == {
        (TrialState.PRUNED, True, 2)
    }


def test_without_a_resource_a_trial_is_one_step() -> None:
    played = simulate.run(spec_of(resource=None, sampler="random"), bowl, workers=1)
    assert [trial.last_step for trial in played.history] == [1] * 12


def test_a_budget_of_time_ends_it_with_what_was_running() -> None:
    """12 trials of 9 seconds: at 15 s the second trials run, and they are the last."""
    played = simulate.run(spec_of(sampler="random", budget={"trials": 12, "hours": 15 / 3600}), bowl, workers=3)
    assert (len(played.history), played.seconds) == (6, 18.0)
    assert {trial.state for trial in played.history} == {TrialState.COMPLETED}


def test_a_budget_of_devices_is_overrun_by_no_more_than_what_was_running() -> None:
    played = simulate.run(spec_of(sampler="random", budget={"device_hours": 50 / 3600}), bowl, workers=3)
    # After 18 s all three have used 54 s together.
    assert (len(played.history), played.busy_seconds) == (6, 54.0)


def test_promotions_end_with_a_budget_of_devices_too() -> None:
    budget = {"trials": 9, "device_hours": 10 / 3600}
    asha = {"pruner": {"name": "asha", "min": 1}, "sampler": "random"}
    played = simulate.run(spec_of(**asha, budget=budget), bowl, workers=1)
    assert (len(played.history), played.busy_seconds) == (6, 10.0)
    assert not any(trial.is_open for trial in played.history)
    assert simulate.run(spec_of(**asha, budget={"trials": 9}), bowl, workers=1).busy_seconds == 9 + 3 * 2 + 6


def test_a_target_ends_it() -> None:
    played = simulate.run(spec_of(sampler="random", budget={"trials": 99, "target": 0.115}), bowl, workers=1)
    best = played.history.best("minimize")
    assert best is not None
    assert best.number == len(played.history) - 1 < 98


def test_a_lack_of_progress_ends_it() -> None:
    played = simulate.run(spec_of(sampler="random", budget={"trials": 99, "no_improvement": 4}), bowl, workers=1)
    best = played.history.best("minimize")
    assert best is not None
    assert best.number == len(played.history) - 5


def recorded(*lengths: int) -> History:
    return History(
        trials=tuple(
            record(at, {"x": at / 10}, at / 10, series=tuple((step, at / 10 + 1 / step) for step in range(1, last + 1)))
            for at, last in enumerate(lengths)
        )
    )


def test_a_replay_without_a_pruner_is_what_was_recorded() -> None:
    before = recorded(9, 9, 9)
    after = simulate.replay(spec_of(), before).history
    assert [(trial.parameters, trial.series) for trial in after] == [
        (trial.parameters, trial.series) for trial in before
    ]
    assert {trial.state for trial in after} == {TrialState.COMPLETED}


def test_a_replay_under_a_scheduler_spends_less_on_the_same_trials() -> None:
    played = simulate.replay(spec_of(pruner={"name": "asha", "min": 1}), recorded(*[9] * 9))
    assert [trial.last_step for trial in played.history] == [9, 3, 3, 1, 1, 1, 1, 1, 1]
    assert sum(step.verdict.action is Action.PAUSE for step in played.steps) == 9 + 3


def test_a_replay_makes_nothing_up_where_the_record_ends() -> None:
    played = simulate.replay(spec_of(), recorded(9, 4))
    assert [(trial.last_step, trial.state) for trial in played.history] == [
        (9, TrialState.COMPLETED),
        (4, TrialState.PRUNED),
    ]
