"""Boxes: conversion to bounds and back loses nothing, also after an edit of the space."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from service.contract.base import Value
from service.contract.space import Space
from service.search.samplers.coarse_to_fine.box import Evidence, check_box, from_bounds, refine, to_bounds
from tests.search.studies import EVERY_KIND, played, study

DECLARED: dict[str, Any] = EVERY_KIND | {"model.width": {"type": "int", "low": 8, "high": 512, "log": True}}

STAY = "stay inside, or edit the study first (study edit)"


def space(parameters: dict[str, Any]) -> Space:
    return TypeAdapter(Space).validate_python(parameters)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999), num_top=st.integers(1, 20))
def test_a_box_that_was_stored_is_the_box_again(seed: int, num_top: int) -> None:
    spec = study(DECLARED, sampler={"name": "random", "seed": seed})
    trials = played(spec, lambda _: 0.0).trials
    box = refine(spec.space, spec.space, Evidence(trials, num_top)).space
    assert from_bounds(spec.space, json.loads(json.dumps(to_bounds(box)))) == box


@pytest.mark.parametrize(
    ("declared", "box", "cut"),
    [
        ({"type": "float", "low": 0.0, "high": 0.5}, [0.2, 0.9], [0.2, 0.5]),
        ({"type": "float", "low": 0.0, "high": 0.5}, [0.6, 0.9], [0.0, 0.5]),
        ({"type": "float", "low": 0.0, "high": 2.0}, [0.6, 0.9], [0.6, 0.9]),
        ({"type": "float", "low": 0.0, "high": 0.6, "step": 0.2}, [0.1, 0.5], [0.2, 0.4]),
        ({"type": "float", "low": 0.0, "high": 0.6, "step": 0.2}, [0.1, 0.3], [0.0, 0.6]),
        ({"type": "float", "low": 1e-6, "high": 1e-2, "log": True, "zero": True}, [0.0, 1e-4], [0.0, 1e-4]),
        ({"type": "float", "low": 1e-6, "high": 1e-2, "log": True}, [0.0, 1e-4], [1e-6, 1e-4]),
        ({"type": "int", "low": 1, "high": 5}, [0.5, 3.5], [1, 3]),
        ({"type": "int", "low": 1, "high": 5}, ["a", True], [1, 5]),
        ({"type": "categorical", "choices": ["a", "b", "c"]}, ["c", "d", "a"], ["a", "c"]),
        ({"type": "categorical", "choices": ["a", "b", "c"]}, ["d"], ["a", "b", "c"]),
        ({"type": "constant", "value": 3}, [1, 2], [3]),
    ],
)
def test_after_an_edit_of_the_space_a_box_keeps_the_remaining_values(
    declared: Any, box: list[Value], cut: list[Value]
) -> None:
    after = space({"x": declared, "new": {"type": "int", "low": 1, "high": 2}})
    assert to_bounds(from_bounds(after, {"x": box, "gone": [1, 2]})) == {"x": cut, "new": [1, 2]}


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ({"optimizer.rl": [1e-4, 1e-3]}, "is no parameter of the space: did you mean 'optimizer.lr'?"),
        (
            {"optimizer.lr": [1e-4, 1.0]},
            f"1.0 is outside the declared space, which is a number in [1e-05, 0.1]; {STAY}",
        ),
        ({"optimizer.lr": [1e-4]}, "must be two bounds, such as [1e-05, 0.1], got [0.0001]"),
        ({"optimizer.lr": [1e-3, 1e-4]}, "must begin below its end, got [0.001, 0.0001]"),
        ({"optimizer.weight_decay": [0, 1e-6]}, "must reach above 1e-06, as 0 alone is no range, got [0, 1e-06]"),
        ({"optimizer.name": []}, "lists no choice; list one"),
        (
            {"optimizer.name": ["sdg"]},
            f"'sdg' is outside the declared space, which is one of 'sgd', 'adamw'; {STAY}",
        ),
    ],
)
def test_an_invalid_box_names_the_remedy(box: dict[str, list[Value]], message: str) -> None:
    (name,) = box
    assert [(each.path, each.message) for each in check_box(space(EVERY_KIND), box)] == [(f"box.{name}", message)]


def test_a_persons_box_inside_the_space_is_one() -> None:
    box: dict[str, list[Value]] = {"optimizer.lr": [1e-4, 1e-3], "optimizer.name": ["sgd"], "model.depth": [2, 3]}
    assert check_box(space(EVERY_KIND), box) == []
