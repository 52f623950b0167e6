"""Corners of the space that run out of a GPU's memory become limits for other configurations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.training.conftest import Configure
from worker.training.build import load
from worker.training.deadline import Deadline
from worker.training.preflight import PreflightResult, SearchedParameter, SearchSpace, cost, run_preflight
from worker.training.preflight.bench import Bench
from worker.training.preflight.cost import Sizes
from worker.training.preflight.memory_limits import memory_limit

SEARCHED: dict[str, list[Any]] = {
    "batch_size": [8, 16, 64],
    "model.hidden": [[8], [16]],
    "optimizer.lr": [1e-3, 1e-1],
    "model.dropout": [0.0, 0.5],
}
CENTRE = {"batch_size": 16, "model.hidden": [8], "optimizer.lr": 1e-2, "model.dropout": 0.2}


@pytest.fixture
def small_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of more than 32 examples run out of memory, as on a GPU of 8 GiB."""
    step = cost.step_loss

    def step_loss(components: Any, state: Any, batch: Tensor, rate_factor: float = 1.0) -> float:
        if len(batch) > 32:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return step(components, state, batch, rate_factor)

    monkeypatch.setattr(cost, "step_loss", step_loss)
    monkeypatch.setattr(cost, "gpu_gib", lambda _device: 8.0)


def checked(configure: Configure, mapping: dict[str, Any]) -> PreflightResult:
    space = SearchSpace(mapping, CENTRE, {path: SearchedParameter(values) for path, values in SEARCHED.items()})
    return run_preflight(space.configuration(), space, seconds=60, numbers=[6])


@pytest.mark.usefixtures("small_gpu")
def test_a_corner_that_runs_out_of_memory_is_a_limit(configure: Configure, mapping: dict[str, Any]) -> None:
    result = checked(configure, mapping)
    assert result.infeasible == [{"batch_size": 64}, {"batch_size": 64, "model.hidden": [16]}]
    first, both = result.memory_limits
    assert first.parameters == {"batch_size": 64, "model.hidden": [8], "model.dropout": 0.2}, "a rate changes no memory"
    assert first.larger == ["batch_size", "model.dropout"]
    assert first.gpu_memory_gib == 8.0
    assert both.parameters["model.hidden"] == [16]
    again = PreflightResult.from_mapping(result.to_mapping())
    assert again.memory_limits == result.memory_limits


def test_on_a_cpu_nothing_is_a_limit(
    configure: Configure, mapping: dict[str, Any], small_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "gpu_gib", lambda _device: None)
    result = checked(configure, mapping)
    assert len(result.infeasible) == 2
    assert result.memory_limits == []


def test_only_settings_of_which_more_needs_more_memory_are_compared_by_size() -> None:
    centre = {
        "batch_size": 8, "model.width": 4, "model.patch_size": 4, "model.name": "vit", "optimizer.lr": 0.1,
        "optimizer.name": "sgd", "optimizer.momentum": 0.9, "epochs": 3, "schedule.warmup": 0.1, "loss.gamma": 2.0,
        "grad_accumulation": 2, "data.size": 32, "l1": 0.1,
    }  # fmt: skip
    limit = memory_limit(SearchSpace({}, centre), {"batch_size": 64}, ["model.width", "model.patch_size"], 8.0)
    compared = {"batch_size", "model.width", "optimizer.momentum"}
    equal = {"model.patch_size", "model.name", "optimizer.name", "grad_accumulation", "data.size"}
    assert set(limit.larger) == compared
    assert set(limit.parameters) == compared | equal
    assert limit.parameters["batch_size"] == 64


@pytest.mark.parametrize(
    ("values", "sizes", "is_rising"),
    [
        ([1, 5], [10, 50], True),
        ([5, 1], [50, 10], True),
        ([1, 5], [50, 10], False),
        ([1, 2, 3], [10, 10, 30], False),
        (["small", "large"], [10, 50], False),
        ([[8], [16]], [10, 50], False),
        ([False, True], [10, 50], False),
    ],
)
def test_a_setting_grows_the_model_if_each_larger_value_does(
    values: list[Any], sizes: list[int], *, is_rising: bool
) -> None:
    assert Sizes(values, sizes).is_rising is is_rising


@pytest.mark.usefixtures("small_gpu")
@pytest.mark.parametrize(("configured", "largest"), [(8, 32), (12, 24), (16, 32)])
def test_the_largest_batch_is_doubled_until_memory_runs_out(
    configured: int, largest: int, configure: Configure
) -> None:
    config = configure(batch_size=configured)
    space = SearchSpace(config.to_mapping())
    (dataset,) = load(config, torch.device("cpu"))
    bench = Bench(config, space, dataset, seed=0, deadline=Deadline(60))
    assert cost.largest_batch(bench) == largest
