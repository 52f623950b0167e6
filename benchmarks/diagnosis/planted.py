"""Variants of a sound training that are broken in one way each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.diagnosis.groups import Group, with_length, with_rate

FEW = {"digits": 60, "wine": 15, "breast_cancer": 30, "diabetes": 40, "csv": 30, "images": 60, "npz": 30}
"""A tiny number of training examples of each source of data."""
HUGE = {"name": "mlp", "hidden": [256, 256]}


def planted_variants(group: Group) -> Iterator[tuple[str, dict[str, Any], str | None]]:
    """Yield the broken variants of a group: name, configuration, and the way in which the data is broken, if any."""
    train, source = group.train, group.train["data"]["name"]
    for fault in ("labels permuted", "half of the labels permuted", "features not scaled", "examples not shuffled"):
        yield fault, dict(train), fault
    few = {**train, "data": {**train["data"], "limit": FEW[source]}, "model": HUGE, "batch_size": 8}
    yield "few examples, huge model", with_length(few, 3.0), None
    yield "few examples, huge model, long", with_length(few, 8.0), None
    yield "huge model, long, fast", with_rate(with_length({**train, "model": HUGE}, 4.0), 3.0), None
    yield "tiny model", with_length({**train, "model": {"name": "mlp", "hidden": [1]}}, 2.0), None
    yield "tiny narrow model", with_length({**train, "model": {"name": "mlp", "hidden": [1, 1]}}, 2.0), None
    if train["model"]["name"] == "mlp":
        yield "dropout of 0.95", with_length({**train, "model": {**train["model"], "dropout": 0.95}}, 2.0), None
    yield "weight decay", with_length(_with_decay(train), 2.0), None
    yield "penalty l1", with_length({**train, "l1": 0.1}, 2.0), None
    for drop in (0.04, 0.1, 0.2):
        early = {"name": "multi_step", "drops": [drop], "factor": 0.001}
        yield f"decay at {drop:g}", {**train, "schedule": early}, None
    for rate in (10.0, 30.0):
        yield (
            f"constant rate {rate:g}",
            with_rate(with_length({**train, "schedule": {"name": "constant"}}, 2.0), rate),
            None,
        )
        late = {"name": "multi_step", "drops": [0.6], "factor": 0.03}
        yield f"late decay rate {rate:g}", with_rate(with_length({**train, "schedule": late}, 2.0), rate), None
    yield from _broken_models(train)


def _with_decay(train: Mapping[str, Any]) -> dict[str, Any]:
    # AdamW and its kin decay by rate times decay per step, the others add it to the gradient.
    optimizer = train["optimizer"]
    decay = 0.3 / optimizer["lr"] / 10 if optimizer["name"] in ("adamw", "nadam", "radam") else 1.0
    return {**train, "optimizer": {**optimizer, "weight_decay": decay}}


def _broken_models(train: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], str | None]]:
    def custom(name: str, **settings: Any) -> dict[str, Any]:
        return {**train, "model": {"name": name, **settings}, "callbacks": [{"name": "norms"}]}

    slow_sgd = {"optimizer": {"name": "sgd", "lr": 0.05}, "schedule": {"name": "constant"}}
    yield "small start", {**custom("scaled_start", depth=3, scale=0.15), **slow_sgd}, None
    yield "small start, deep", {**custom("scaled_start", depth=4, scale=0.3), **slow_sgd}, None
    yield "small start, long", with_length({**custom("scaled_start", depth=3, scale=0.2), **slow_sgd}, 3.0), None
    yield "large start", custom("scaled_start", depth=3, scale=8.0), None
    yield "very large start", custom("scaled_start", depth=4, scale=20.0), None
    yield "reference of start", custom("scaled_start", depth=3, scale=1.0), None
    yield "deep sigmoids", custom("deep_sigmoids", depth=8), None
    yield "deeper sigmoids sgd", {**custom("deep_sigmoids", depth=12), **slow_sgd}, None
    yield "wild start", custom("wild_start", depth=8), None
    yield "wild start sgd", {**custom("wild_start", depth=6), **slow_sgd}, None
    yield "dead units", custom("dead_units", dead=0.9), None
    yield "nearly all units dead", custom("dead_units", dead=0.97), None
    yield "input ignored", custom("ignores_input"), None
    yield "no step", {**train, "optimizer": {"name": "does_nothing"}}, None
