"""Stages on other data: their trials are never the best, whatever their values."""

from __future__ import annotations

from typing import Any

import pytest

from service.domain.budget import exhausted_reason
from service.domain.history import History
from service.domain.other_data import stages_on_other_data
from tests.search.studies import record, study


@pytest.mark.parametrize(
    ("overrides", "is_other"),
    [
        ({}, False),
        ({"data.classes": 3}, True),
        ({"schedule.name": "constant", "data.size": 16}, True),
        ({"schedule.name": "constant", "data.limit": 100, "data.bootstrap": 1, "data.train_fraction": 0.1}, False),
    ],
)
def test_what_chooses_training_examples_alone_leaves_the_data_the_same(
    overrides: dict[str, Any], is_other: bool
) -> None:
    stages = [{"trials": 2}, {"trials": 2, "overrides": overrides}]
    spec = study(sampler={"name": "coarse_to_fine", "stages": stages})
    assert stages_on_other_data(spec) == ({1} if is_other else set())


@pytest.mark.parametrize("sampler", ["tpe", "coarse_to_fine"])
def test_without_stages_of_one_s_own_nothing_is_left_out(sampler: str) -> None:
    assert stages_on_other_data(study(sampler=sampler)) == set()


def test_a_target_is_reached_by_comparable_trials_alone() -> None:
    stages = [{"trials": 1, "overrides": {"data.classes": 2}}, {"trials": 2}]
    spec = study(sampler={"name": "coarse_to_fine", "stages": stages}, budget={"target": 0.5, "no_improvement": 2})
    easy, worse = record(0, value=0.1, stage=0), record(1, value=0.9, stage=1)
    assert exhausted_reason(spec, History(trials=(easy, worse))) is None
    reached = exhausted_reason(spec, History(trials=(easy, worse, record(2, value=0.4, stage=1))))
    assert reached == "trial 2 reached 0.4, and the target is 0.5"
