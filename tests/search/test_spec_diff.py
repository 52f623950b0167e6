"""Edits of a spec: what changes is described, and an edit that makes old trials incomparable is refused."""

from __future__ import annotations

from typing import Any

import pytest

from service.contract.study import StudySpec
from service.search.spec_diff import check_edit, differences
from tests.search.studies import study

LR = {"type": "float", "low": 1e-5, "high": 1e-1, "log": True}
STAGES = [{"trials": 4, "resource": 2}, {"trials": 4}]


def spec(**changes: Any) -> StudySpec:
    return study({"lr": LR}, **{"sampler": "random", "resource": {"max": 9}} | changes)


def refused(old: StudySpec, new: StudySpec, **made: Any) -> list[tuple[str, str]]:
    errors = check_edit(old, new, **{"num_trials": 3, "stages_made": []} | made)
    return [(error.path, error.message) for error in errors]


def test_changes_are_described_by_path_old_and_new_value() -> None:
    new = study(
        {"lr": {**LR, "high": 1.0}, "depth": {"type": "categorical", "choices": [True]}},
        sampler="tpe",
        resource={"max": 9},
        budget={},
    )
    assert differences(spec(), new) == [
        ("space.lr.high", "0.1 -> 1.0"),
        ("space.depth", '{"type": "categorical", "choices": [true], "ordered": false} added'),
        ("sampler.name", '"random" -> "tpe"'),
        ("sampler.startup_trials", "10 added"),
        ("budget.trials", "30 removed"),
    ]


def test_one_and_true_are_two_choices_and_the_order_of_parameters_is_no_change() -> None:
    one, true = ({"a": {"type": "categorical", "choices": [choice]}, "lr": LR} for choice in (1, True))
    assert differences(study(one), study(true)) == [("space.a.choices", "[1] -> [true]")]
    assert differences(study(one), study(dict(reversed(one.items())))) == []


@pytest.mark.parametrize(
    "change",
    [
        {"description": "better"},
        {"sampler": "tpe"},
        {"pruner": "median"},
        {"budget": {"trials": 1}},
        {"priority": 3},
        {"owner": "ann"},
        {"requires": {"gpu_memory_gib": 8}},
        {"reference": {"baseline": 0.3}},
        {"retry_failed": 2},
    ],
    ids=str,
)
def test_edits_that_keep_old_trials_comparable_are_allowed(change: dict[str, Any]) -> None:
    assert refused(spec(), spec(**change)) == []


@pytest.mark.parametrize(
    ("change", "path", "why"),
    [
        ({"name": "other"}, "name", "a study keeps its name"),
        ({"project": "other"}, "project", "a study keeps its project"),
        (
            {"objective": {"metric": "val/loss", "direction": "maximize"}},
            "objective.direction",
            "the values of its trials belong to this objective",
        ),
        ({"task": {"function": "mine:train"}}, "task", "its trials were trained on this task"),
        ({"resource": {"max": 10}}, "resource.max", "its trials were trained to this step"),
        ({"warm_start": ["older"]}, "warm_start", "its prior trials were copied when it was created"),
    ],
)
def test_objective_and_task_cannot_be_edited(change: dict[str, Any], path: str, why: str) -> None:
    ((refused_path, message),) = refused(spec(), spec(**change), num_trials=0)
    assert refused_path == path
    assert message.startswith("cannot change (")
    assert message.endswith(f"): {why}; leave it, or create another study")


def test_rungs_stay_where_trials_have_been_compared_at_them() -> None:
    asha = spec(pruner={"name": "asha", "min": 1})
    for other, told in (
        (spec(pruner={"name": "asha", "min": 3}), "at steps 3, 9, one of 3 is promoted"),
        (spec(pruner={"name": "hyperband", "min": 1}), "at steps 1, 3, 9 in 3 brackets, one of 3 is promoted"),
        (spec(), "at no rungs"),
    ):
        ((path, message),) = refused(asha, other)
        assert path == "pruner"
        assert message.startswith(f"would compare trials {told}, and those made are compared at steps 1, 3, 9, one of")
        assert refused(asha, other, num_trials=0) == []
    assert refused(asha, spec(pruner={"name": "asha", "min": 1, "mode": "stop"})) == []


def test_a_stage_that_has_trials_trains_as_they_did() -> None:
    staged = spec(sampler={"name": "coarse_to_fine", "stages": STAGES})
    gone = "stage 1 has trials, and would train otherwise; leave its resource and overrides, or create another study"
    longer = spec(sampler={"name": "coarse_to_fine", "stages": [{"trials": 4, "resource": 3}, {"trials": 4}]})
    assert refused(staged, longer, stages_made=[(0, staged)]) == [("sampler.stages", gone)]
    assert refused(staged, spec(), stages_made=[(0, staged)]) == [("sampler.stages", gone)]
    more = spec(sampler={"name": "coarse_to_fine", "stages": [{"trials": 9, "resource": 2}, STAGES[0], *STAGES]})
    assert refused(staged, more, stages_made=[(0, staged)]) == []
    whole = spec(sampler={"name": "coarse_to_fine", "stages": [{"trials": 2}, {"trials": 2}, {"trials": 2}]})
    assert refused(whole, spec(), stages_made=[(0, whole), (1, whole)]) == []
    shorter = spec(sampler={"name": "coarse_to_fine", "stages": [{"trials": 2}, {"trials": 2}]})
    ((_, message),) = refused(whole, shorter, stages_made=[(0, whole), (2, whole)])
    assert message.startswith("stage 3 has trials, and is gone")
