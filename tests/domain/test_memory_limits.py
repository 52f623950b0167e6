"""A configuration exceeds a memory limit if it is equal to it in what memory depends on, or larger."""

from __future__ import annotations

from typing import Any

import pytest

from service.contract.preflight import MemoryLimit
from service.domain.memory_limits import describe_limit, exceeded_limit

LIMIT = MemoryLimit(
    parameters={"batch_size": 64, "model.width": 8, "model.name": "mlp"},
    larger=["batch_size", "model.width"],
    gpu_memory_gib=8,
)
AT: dict[str, Any] = {"batch_size": 64, "model.width": 8, "model.name": "mlp", "optimizer.lr": 0.1}


@pytest.mark.parametrize(
    ("changes", "is_exceeded"),
    [
        ({}, True),
        ({"batch_size": 128}, True),
        ({"batch_size": 128, "model.width": 9}, True),
        ({"batch_size": 63}, False),
        ({"model.width": 4, "batch_size": 1024}, False),
        ({"model.name": "cnn"}, False),
        ({"optimizer.lr": 1e-9, "other": True}, True),
    ],
)
def test_equal_and_larger_configurations_exceed_it(changes: dict[str, Any], *, is_exceeded: bool) -> None:
    assert (exceeded_limit([LIMIT], AT | changes) is LIMIT) is is_exceeded


def test_a_configuration_without_one_of_its_parameters_does_not() -> None:
    assert exceeded_limit([LIMIT], {name: value for name, value in AT.items() if name != "model.width"}) is None
    assert exceeded_limit([], AT) is None


def test_what_is_larger_is_decided_for_numbers_alone() -> None:
    limit = MemoryLimit(
        parameters={"model.amp": True, "model.hidden": [8]}, larger=["model.amp", "model.hidden"], gpu_memory_gib=8
    )
    assert exceeded_limit([limit], {"model.amp": True, "model.hidden": [8]}) is limit
    assert exceeded_limit([limit], {"model.amp": True, "model.hidden": [9]}) is None


def test_the_largest_of_several_counts_and_says_where_memory_ran_out() -> None:
    large = LIMIT.model_copy(update={"gpu_memory_gib": 24.0})
    assert exceeded_limit([LIMIT, large, LIMIT], AT) is large
    assert describe_limit(large) == (
        "out of memory in the preflight: a GPU of 24 GiB is too small for batch_size = 64, model.width = 8, "
        "model.name = mlp"
    )
