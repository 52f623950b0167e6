"""The preflight as a whole: its order, its budget, its result, and what it leaves alone."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.conftest import Configure
from tests.training.preflight.planted_faults.fault import BASE
from worker.training import OutsideFolders, TrainingConfig, train
from worker.training.preflight import (
    PreflightResult,
    SearchedParameter,
    SearchSpace,
    Status,
    run_preflight,
)
from worker.training.preflight.learning_rate import find_range
from worker.training.preflight.one_batch import shape_of
from worker.training.preflight.search_space import with_settings

NOTHING = SearchSpace({})
MEASURED = {"seconds", "seconds_per_epoch", "peak_memory_bytes"}


def test_the_checks_run_in_the_order_of_their_numbers(configure: Configure) -> None:
    seen: list[int] = []
    result = run_preflight(configure(), NOTHING, seconds=60, on_check=lambda check: seen.append(check.number))
    assert seen == sorted(seen) == [check.number for check in result.checks]
    assert set(seen) == set(range(1, 10))
    assert result.status is Status.PASSED
    assert result.seconds_per_epoch is not None
    assert result.seconds_per_epoch > 0
    assert result.learning_rate is not None
    assert result.learning_rate.falls <= result.learning_rate.steepest


def test_a_large_search_gives_its_preflight_more_time(configure: Configure) -> None:
    brief = run_preflight(configure(), NOTHING, seconds=1e-6)
    assert {check.status for check in brief.checks} == {Status.NOT_RUN}
    long = run_preflight(configure(), NOTHING, seconds=2.0, budget_epochs=1e9, numbers=[1, 2, 3, 4, 5, 6, 7])
    assert Status.NOT_RUN not in {
        check.status for check in long.checks if check.name not in ("largest_batch", "memory")
    }


def test_the_result_is_plain_json_and_reads_back(configure: Configure) -> None:
    result = run_preflight(configure(), NOTHING, seconds=60)
    text = json.dumps(result.to_mapping(), allow_nan=False)
    again = PreflightResult.from_mapping(json.loads(text))
    assert again.to_mapping() == result.to_mapping()
    assert [check.name for check in again.checks] == [check.name for check in result.checks]
    assert any(check.curves for check in again.checks)


def test_a_number_that_is_not_finite_becomes_null(configure: Configure) -> None:
    result = run_preflight(configure(), NOTHING, seconds=60, numbers=[2])
    check = replace(result.checks[0], figures={"loss": float("nan"), "parts": (1.0, float("inf"))})
    figures = replace(result, checks=[check]).to_mapping()["checks"][0]["figures"]
    assert figures == {"loss": None, "parts": [1.0, None]}


def comparable(result: PreflightResult) -> list[Any]:
    return [
        (check.name, check.status, check.figures, check.curves)
        for check in result.checks
        if check.number != 6 and check.name != "loading"
    ]


def test_the_same_seed_finds_the_same(configure: Configure) -> None:
    first, second = (run_preflight(configure(), NOTHING, seconds=60, seed=3) for _ in range(2))
    assert comparable(first) == comparable(second)
    assert comparable(first) != comparable(run_preflight(configure(), NOTHING, seconds=60, seed=4))


def test_no_random_stream_of_the_process_changes(configure: Configure) -> None:
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    run_preflight(configure(), NOTHING, seconds=60)
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])


def test_a_training_after_a_preflight_is_the_same_as_without(configure: Configure) -> None:
    before = dict(train(configure(), seed=1).metrics)
    run_preflight(configure(), NOTHING, seconds=60)
    after = dict(train(configure(), seed=1).metrics)
    assert {**before, "seconds": 0} == {**after, "seconds": 0}


def test_checks_after_the_time_are_not_run(configure: Configure) -> None:
    result = run_preflight(configure(), NOTHING, seconds=0)
    assert {check.status for check in result.checks} == {Status.NOT_RUN}
    assert all("over" in check.sentence for check in result.checks)
    assert result.status is Status.PASSED
    assert result.seconds < 5


@pytest.mark.parametrize("seconds", [0.2, 0.7, 1.5, 3.0])
def test_a_sound_training_is_never_warned_of_because_the_time_is_short(seconds: float) -> None:
    task = {**BASE, "model": {"name": "resnet", "width": 32, "depth": 2}, "optimizer": {"name": "sgd", "lr": 0.05}}
    space = SearchSpace(
        task, {}, {"model.width": SearchedParameter([16, 32]), "batch_size": SearchedParameter([32, 64])}
    )
    result = run_preflight(space.configuration(), space, seconds=seconds)
    assert {check.status for check in result.checks} <= {Status.PASSED, Status.NOT_RUN}
    assert Status.NOT_RUN in {check.status for check in result.checks}


@pytest.mark.usefixtures("planted_entries")
def test_without_a_step_only_the_data_is_checked() -> None:
    config = TrainingConfig.from_mapping({**BASE, "model": {"name": "wrong_input_width"}})
    result = run_preflight(config, NOTHING, seconds=60)
    ran = {check.number for check in result.checks if check.status is not Status.NOT_RUN}
    assert ran == {1, 8}


def test_a_preflight_reads_only_allowed_folders(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("a,b\n" + "1,2\n3,4\n" * 20)
    mapping = {**BASE, "data": {"name": "csv", "path": str(table), "target": "b"}}
    with pytest.raises(OutsideFolders):
        run_preflight(TrainingConfig.from_mapping(mapping), NOTHING, seconds=60, readable=[tmp_path / "other"])


@pytest.mark.parametrize(
    ("losses", "shape"),
    [
        ([1.0] * 40, "plateaus"),
        ([1.0 + 0.02 * step for step in range(40)], "rises"),
        ([1.0, *[2.0, 0.9] * 20], "oscillates"),
        ([1.0, 2.0, 30.0], "explodes"),
        ([1.0, float("nan")], "explodes"),
    ],
)
def test_the_ways_to_fail_are_told_apart(losses: list[float], shape: str) -> None:
    assert shape_of(losses) == shape


def test_the_range_of_a_curve_is_found() -> None:
    rates = [1e-5 * 10 ** (step / 10) for step in range(60)]
    losses = [2.0 if rate < 1e-3 else max(0.2, 2.0 - 1.5 * (rate / 1e-3 - 1) / 9) for rate in rates]
    losses = [loss if rate < 0.3 else 50.0 for rate, loss in zip(rates, losses, strict=True)]
    found = find_range(rates, losses)
    assert found is not None
    assert 1e-3 <= found.falls < 2e-3
    assert found.falls < found.steepest < found.explodes
    assert found.explodes == pytest.approx(0.3, rel=0.3)
    assert found.proposed <= found.explodes / 4


def test_a_loss_that_never_falls_has_no_range() -> None:
    assert find_range([1e-3, 1e-2, 1e-1], [1.0, 1.0, 4.0]) is None


def test_settings_are_applied_and_foreign_options_dropped() -> None:
    base = {"optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9}}
    changed = with_settings(base, {"optimizer.name": "adamw", "batch_size": 8})
    assert changed == {"optimizer": {"name": "adamw", "lr": 0.1}, "batch_size": 8}
    assert base["optimizer"]["name"] == "sgd"


def test_a_setting_whose_condition_breaks_is_left_out() -> None:
    space = SearchSpace(
        BASE,
        {"optimizer.name": "sgd", "optimizer.momentum": 0.5},
        {
            "optimizer.name": SearchedParameter(["sgd", "adamw"]),
            "optimizer.momentum": SearchedParameter([0.0, 0.9], {"optimizer.name": "sgd"}),
        },
    )
    assert space.configuration().optimizer.settings["momentum"] == 0.5
    assert "momentum" not in space.configuration({"optimizer.name": "adamw"}).optimizer.settings
    result = run_preflight(space.configuration(), space, seconds=60, numbers=[9])
    assert result.status is Status.PASSED
