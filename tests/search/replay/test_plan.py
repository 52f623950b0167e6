"""The planned cost of a spec, on worked numbers, equals what the simulator spends."""

from __future__ import annotations

from typing import Any

import pytest

from service.contract.study import Budget
from service.search.replay import simulate
from service.search.replay.plan import plan
from tests.search.replay.test_simulate import LINE, bowl
from tests.search.studies import study


def planned(**changes: Any) -> list[tuple[str, int, int, int]]:
    spec = study(
        LINE, **{"sampler": "random", "resource": {"name": "epoch", "max": 9}, "budget": {"trials": 9}} | changes
    )
    return [(part.name, part.trials, part.from_step, part.to_step) for part in plan(spec).parts]


def test_without_a_scheduler_all_train_to_the_end() -> None:
    assert planned() == [("all", 9, 0, 9)]


def test_asha_is_planned_rung_by_rung() -> None:
    asha = {"name": "asha", "min": 1}
    assert planned(pruner=asha) == [("to step 1", 9, 0, 1), ("to step 3", 3, 1, 3), ("to step 9", 1, 3, 9)]


def test_hyperband_is_planned_bracket_by_bracket() -> None:
    assert planned(pruner={"name": "hyperband", "min": 1}, budget={"trials": 17}) == [
        ("bracket 1 of 3, to step 1", 9, 0, 1),
        ("bracket 1 of 3, to step 3", 3, 1, 3),
        ("bracket 1 of 3, to step 9", 1, 3, 9),
        ("bracket 2 of 3, to step 3", 5, 0, 3),
        ("bracket 2 of 3, to step 9", 1, 3, 9),
        ("bracket 3 of 3, to step 9", 3, 0, 9),
    ]


def test_stages_are_planned_one_by_one_and_the_last_gets_the_rest() -> None:
    stages = [{"trials": 4, "resource": 2}, {"trials": 2, "resource": 5}, {"trials": 1}]
    assert planned(sampler={"name": "coarse_to_fine", "stages": stages}) == [
        ("stage 1 of 3", 4, 0, 2),
        ("stage 2 of 3", 2, 0, 5),
        ("stage 3 of 3", 3, 0, 9),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pruner": {"name": "asha", "min": 1}},
        {"pruner": {"name": "hyperband", "min": 1}},
        {"pruner": "asha", "budget": {"trials": 40}},
        {"sampler": "coarse_to_fine"},
    ],
)
@pytest.mark.parametrize("workers", [1, 5])
def test_the_planned_cost_is_the_spent_cost(changes: dict[str, Any], workers: int) -> None:
    spec = study(
        LINE, **{"sampler": "random", "resource": {"name": "epoch", "max": 9}, "budget": {"trials": 17}} | changes
    )
    assert plan(spec).num_steps == len(simulate.run(spec, bowl, workers=workers).steps)


def test_it_says_what_it_cannot_know() -> None:
    endless = plan(study(LINE, sampler="random", budget={}))
    assert (endless.trials, endless.num_steps, endless.parts) == (None, None, [])
    assert endless.notes == [
        "no budget of trials: the study continues until it is stopped; write budget: {trials: 60} to plan it"
    ]
    unlimited = plan(study(LINE, sampler="random"))
    assert (unlimited.trials, unlimited.num_steps, unlimited.resource) == (30, 30, "trial")
    assert "each trial counts as one step" in unlimited.notes[0]
    median = plan(study(LINE, sampler="random", pruner="median", resource={"max": 9}))
    assert (median.is_upper_bound, median.full_trial_equivalents) == (True, 30.0)


def test_a_grid_without_a_resource_costs_its_cells() -> None:
    space = {"x": {"type": "categorical", "choices": [1, 2, 3]}, "y": {"type": "int", "low": 0, "high": 4}}
    cells = plan(study(space, sampler="grid", budget={}))
    assert (cells.trials, cells.num_steps, [part.trials for part in cells.parts]) == (15, 15, [15])


@pytest.mark.parametrize(
    ("train", "space", "trainings", "at_most"),
    [
        ({"folds": 5}, {}, 5, False),
        ({"folds": 5, "repeats": 3}, {}, 15, False),
        ({"repeats": 2}, {"folds": {"type": "categorical", "choices": [3, 5]}}, 10, True),
        ({}, {"repeats": {"type": "int", "low": 1, "high": 4}}, 4, True),
        ({}, {}, 1, False),
    ],
)
def test_each_fold_and_repeat_of_a_trial_is_a_training(
    train: dict[str, Any], space: dict[str, Any], trainings: int, at_most: bool
) -> None:
    spec = study(LINE | space, sampler="random", task={"train": train}, resource={"max": 9}, budget={"trials": 10})
    planned = plan(spec)
    assert (planned.trainings_per_trial, planned.num_steps, planned.full_trial_equivalents) == (
        trainings,
        90,
        10 * trainings,
    )
    assert planned.is_upper_bound is at_most
    budget = {"trials": 10, "device_hours": 1}
    hours = plan(spec.model_copy(update={"budget": Budget.model_validate(budget)}), step_seconds=60)
    assert any(f"suffice for {60 // trainings} of these 90 steps" in note for note in hours.notes) is (trainings > 0)


def test_it_says_which_budgets_may_end_it_sooner() -> None:
    budget = {"trials": 10, "hours": 2, "device_hours": 0.5, "failures": 3, "no_improvement": 20, "target": 0.1}
    bounded = plan(study(LINE, sampler="random", resource={"max": 9}, budget=budget), step_seconds=60.0)
    assert (bounded.num_steps, bounded.step_seconds, bounded.is_upper_bound) == (90, 60.0, True)
    assert bounded.notes == [
        (
            "it ends sooner once 2 hours have passed, or 0.5 device-hours are used up, or 3 trials have failed, "
            "or 20 trials brought no improvement, or a trial has reached 0.1"
        ),
        "0.5 device-hours suffice for 30 of these 90 steps",
    ]
    endless = plan(study(LINE, sampler="random", resource={"max": 9}, budget={"device_hours": 1}), step_seconds=60.0)
    assert endless.notes[0].startswith("no budget of trials: the study continues until another budget ends it")
    assert endless.notes[-1] == "1 device-hours suffice for 60 steps"
    pairs = study(LINE, sampler="random", resource={"max": 9}, budget={"device_hours": 1}, requires={"devices": 2})
    assert plan(pairs, step_seconds=60.0).notes[-1] == "1 device-hours suffice for 30 steps"
