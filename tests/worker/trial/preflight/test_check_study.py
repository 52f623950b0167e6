"""A study with an automatic batch size is checked with a number, and the result proposes one."""

from __future__ import annotations

from typing import Any

import pytest

from service.client.spec import parse
from worker.trial.preflight import preflight_study


@pytest.mark.parametrize(("changes", "expected"), [({}, 64), ({"limit": 40}, 40)])
def test_without_a_gpu_the_default_limited_by_the_data_is_proposed(changes: dict[str, Any], expected: int) -> None:
    train = {
        "data": {"name": "wine"} | changes, "model": {"name": "linear"}, "loss": {"name": "cross_entropy"},
        "optimizer": {"name": "sgd"}, "batch_size": "auto",
    }  # fmt: skip
    spec = parse(
        {
            "name": "automatic",
            "objective": {"metric": "val/accuracy", "direction": "maximize"},
            "task": {"train": train},
            "space": {"optimizer.lr": {"type": "float", "low": 1e-3, "high": 0.1, "log": True}},
        }
    )
    result = preflight_study(spec, seconds=30, numbers=[1])
    assert result.batch_size == expected
    assert result.checks[0].figures["features"] == f"[{expected}, 13] float32"
    assert spec.task is not None
    numbered = spec.model_copy(update={"task": spec.task.model_copy(update={"train": {**train, "batch_size": 16}})})
    assert preflight_study(numbered, seconds=30, numbers=[1]).batch_size is None
