"""Coarse-to-fine stages that try a grid, and parameters that a stage fixes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from service.contract.base import Value
from service.contract.study import StudySpec
from service.contract.trial import TrialState
from service.domain.history import History, StageBox
from service.search import decide
from service.search.samplers.coarse_to_fine.sampler import CoarseToFineSampler
from service.search.validation import check_strategy
from tests.search.studies import begun, ended, played, record, study

GRID = {
    "lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True, "points": 4},
    "decay": {"type": "categorical", "choices": [0, 1e-5, 1e-4], "ordered": True},
}


def decades(parameters: Mapping[str, Value]) -> float:
    """Best at a rate of 1e-2 and a decay of 1e-5."""
    rate, decay = parameters["lr"], parameters["decay"]
    assert isinstance(rate, float)
    return (math.log10(rate) + 2) ** 2 + (decay != 1e-5)


def spec_of(*stages: dict[str, Any], **changes: Any) -> StudySpec:
    sampler = {"name": "coarse_to_fine", "stages": list(stages)}
    return study(GRID, **{"sampler": sampler, "budget": {}, "resource": {"max": 8}, **changes})


def test_a_grid_of_one_parameter_then_the_product_around_its_best() -> None:
    first = {"trials": 4, "sampler": "grid", "fixed": {"decay": 1e-4}}
    spec = spec_of(first, {"trials": 12, "sampler": "grid"})
    assert check_strategy(spec) == []
    history = played(spec, decades, at_once=3)
    rates, decays = zip(*((trial.parameters["lr"], trial.parameters["decay"]) for trial in history), strict=True)
    assert rates[:4] == pytest.approx((1e-4, 1e-3, 1e-2, 1e-1))
    assert set(decays[:4]) == {1e-4}
    assert sorted(set(rates[4:])) == pytest.approx([10**-2.5, 10 ** (-13 / 6), 10 ** (-11 / 6), 10**-1.5], rel=5e-3)
    assert len(set(zip(rates[4:], decays[4:], strict=True))) == 12
    assert history.stages[1].reason == "lr [0.0001, 0.1] -> [0.00316, 0.0317] because the best of 4 lies there"


def test_what_a_stage_fixes_is_named_and_keeps_its_range() -> None:
    stages = [
        {"trials": 3, "sampler": "grid", "fixed": {"lr": 1e-2}},
        {"trials": 4, "sampler": "grid", "fixed": {"decay": 0}, "keep": 1},
        {"trials": 2},
    ]
    history = played(spec_of(*stages), decades)
    assert history.stages[1].reason.endswith("gave no reason to change it; decay is 0 in this stage")
    assert history.stages[1].box["lr"] == [1e-4, 1e-1]
    assert [trial.parameters["decay"] for trial in history.trials[3:7]] == [0] * 4
    assert history.stages[2].box == history.stages[1].box
    assert history.stages[2].reason == "the box of stage 2, which keeps all of it"


def test_keeping_all_keeps_the_part_where_trials_diverged() -> None:
    spec = spec_of({"trials": 4, "sampler": "grid", "fixed": {"decay": 0}, "keep": 1}, {"trials": 1})
    history = History()
    while isinstance(made := decide.next_action(history, spec), decide.Suggest) and made.suggestion.stage == 0:
        diverged = {"state": TrialState.PRUNED, "infeasible": True} if made.number == 3 else {}
        history = ended(begun(history, made), made.number, None if diverged else 1.0, **diverged)
    assert CoarseToFineSampler.of(spec).box(history, 1).space["lr"].high == 0.1  # type: ignore[union-attr]


def test_a_cell_is_tried_once_and_only_where_it_is_comparable() -> None:
    all_cells = {"trials": 12, "sampler": "grid", "keep": 1}
    for resource, again in ((8, False), (2, True)):
        history = played(
            spec_of({"trials": 12, "sampler": "grid", "keep": 1, "resource": resource}, all_cells), decades
        )
        assert len(history) == 24
        cells = {tuple(trial.parameters.values()) for trial in history.trials[:12]}
        assert len(cells) == 12
        assert ({tuple(trial.parameters.values()) for trial in history.trials[12:]} == cells) is again


def test_a_best_value_at_the_border_of_a_grid_widens_the_box() -> None:
    spec = spec_of({"trials": 4, "sampler": "grid", "fixed": {"decay": 0}}, {"trials": 1}, {"trials": 1})
    inner = replace(played(spec, decades), stages={1: StageBox(1, {"lr": [1e-3, 1e-2], "decay": [0, 1e-5]}, "")})
    grid = spec_of({"trials": 1}, {"trials": 4, "sampler": "grid", "keep": 0.2}, {"trials": 1})
    trials = tuple(record(at, {"lr": rate, "decay": 0}, -rate, stage=1) for at, rate in enumerate((1e-3, 1e-2)))
    box = CoarseToFineSampler.of(grid).box(replace(inner, trials=trials), 2).space["lr"]
    assert box.high > 2e-2  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("stage", "path", "message"),
    [
        (
            {"trials": 5, "fixed": {"decya": 0}},
            "fixed.decya",
            "is no parameter of the space: did you mean 'decay'?; set other settings by overrides",
        ),
        (
            {"trials": 5, "fixed": {"lr": 1.0}},
            "fixed.lr",
            "1.0 is outside the declared space, which is a number in [0.0001, 0.1]",
        ),
        (
            {"trials": 5, "sampler": "grid", "fixed": {"decay": 0}},
            "trials",
            "the grid of this stage has 4 cells for 5 trials; write trials: 4",
        ),
    ],
)
def test_a_stage_that_cannot_be_says_what_to_write(stage: dict[str, Any], path: str, message: str) -> None:
    errors = check_strategy(spec_of({"trials": 1}, stage))
    assert [(each.path, each.message) for each in errors] == [(f"sampler.stages.1.{path}", message)]


def test_a_grid_needs_points_unless_the_range_is_fixed() -> None:
    endless = {**GRID, "lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True}}
    for fixed, paths in (({}, ["space.lr.points"]), ({"lr": 1e-2}, [])):
        sampler = {
            "name": "coarse_to_fine",
            "stages": [{"trials": 1, "sampler": "grid", "fixed": fixed}, {"trials": 1}],
        }
        assert [each.path for each in check_strategy(study(endless, sampler=sampler))] == paths
