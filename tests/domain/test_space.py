"""Search spaces: conditions are checked at creation, configurations against the space."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from service.contract.space import Space
from service.domain.space import check_parameters, check_space, is_active, topological_order

SPACE: dict[str, Any] = {
    "optimizer.name": {"type": "categorical", "choices": ["sgd", "adamw"]},
    "optimizer.momentum": {"type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer.name": "sgd"}},
    "layers": {"type": "int", "low": 1, "high": 5, "step": 2},
    "width": {"type": "int", "low": 8, "high": 64, "when": {"layers": [3, 5]}},
    "decay": {"type": "float", "low": 1e-6, "high": 1e-2, "log": True, "zero": True},
    "seed": {"type": "constant", "value": 3},
    "dropout": {"type": "float", "low": 0.0, "high": 0.5, "when": {"width": {"low": 32}}},
    "warm": {"type": "categorical", "choices": [0, 5, 10], "ordered": True, "when": {"decay": {"low": 1e-6}}},
}


def space(**changes: Any) -> Space:
    return TypeAdapter(Space).validate_python({**SPACE, **changes})


def when(**condition: Any) -> dict[str, Any]:
    return {"type": "int", "low": 0, "high": 1, "when": condition}


def messages(checked: Space) -> list[str]:
    return [error.message for error in check_space(checked)]


def test_a_sound_space_has_no_errors() -> None:
    assert messages(space()) == []


NEVER_EQUAL = (
    "is a float, which almost never equals an exact value; write a range, as in {optimizer.momentum: {low: 0.5}}"
)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"layer": 1}, "names 'layer', which is no parameter of the space: did you mean 'layers'?"),
        ({"optimizer.name": "adam"}, "optimizer.name is never 'adam'; did you mean 'adamw'?"),
        ({"layers": 2}, "layers is never 2; it is a whole number in [1, 5] in steps of 2"),
        ({"layers": True}, "layers is never True; it is a whole number in [1, 5] in steps of 2"),
        ({"layers": []}, "lists no value of layers, so that the parameter would never exist; list one"),
        ({"optimizer.momentum": 0.9}, f"optimizer.momentum {NEVER_EQUAL}"),
        (
            {"optimizer.name": {"low": 1}},
            "optimizer.name is categorical and has no range; list its values, some of: [sgd, adamw]",
        ),
        ({"seed": {"high": 9}}, "seed is constant and has no range; list its values, some of: [3]"),
        ({"layers": {"low": 6}}, "layers is never at least 6; it is a whole number in [1, 5] in steps of 2"),
        (
            {"layers": {"low": 4, "high": 4.5}},
            "layers is never in [4, 4.5]; it is a whole number in [1, 5] in steps of 2",
        ),
        ({"optimizer.momentum": {"high": -1}}, "optimizer.momentum is never at most -1; it is a number in [0, 0.99]"),
        (
            {"decay": {"low": 1e-9, "high": 1e-7}},
            "decay is never in [1e-09, 1e-07]; it is 0 or a number in [1e-06, 0.01]",
        ),
    ],
)
def test_an_impossible_condition_says_what_to_write(condition: dict[str, Any], message: str) -> None:
    errors = check_space(space(extra=when(**condition)))
    assert [(error.path, error.message) for error in errors] == [("space.extra.when", message)]


def test_a_circle_of_conditions_is_named() -> None:
    circle = space(a=when(b=1), b=when(c=0), c=when(a=1), behind=when(a=0))
    assert messages(circle) == ["the conditions form a cycle: a -> b -> c -> a; drop one of them"]


def test_a_parameter_that_waits_for_itself_is_a_circle() -> None:
    assert messages(space(a=when(a=1))) == ["the conditions form a cycle: a -> a; drop one of them"]


def test_the_order_puts_conditions_first_and_ignores_the_order_of_keys() -> None:
    forward = space()
    backward = dict(reversed(forward.items()))
    expected = ["decay", "warm", "layers", "width", "dropout", "optimizer.name", "optimizer.momentum", "seed"]
    assert topological_order(forward) == expected == topological_order(backward)


def test_a_parameter_exists_only_under_its_condition() -> None:
    width = space()["width"]
    assert is_active(width, {"layers": 3})
    assert not is_active(width, {"layers": 1})
    assert not is_active(width, {})


def test_a_parameter_may_exist_in_a_range_of_another() -> None:
    dropout = space()["dropout"]
    assert [is_active(dropout, {"width": width}) for width in (8, 31, 32, 64)] == [False, False, True, True]
    assert not is_active(dropout, {}), "nor does it where the other does not exist"
    both_ends = space(extra=when(layers={"low": 3, "high": 3}))["extra"]
    assert [is_active(both_ends, {"layers": layers}) for layers in (1, 3, 5)] == [False, True, False]


def test_zero_of_a_log_range_can_be_asked_for_by_a_range() -> None:
    warm = space()["warm"]
    assert [is_active(warm, {"decay": decay}) for decay in (0.0, 1e-6, 1e-2)] == [False, True, True]
    assert messages(space(extra=when(decay={"high": 0}))) == []


GOOD = {"optimizer.name": "sgd", "optimizer.momentum": 0.9, "layers": 1, "decay": 0.0, "seed": 3}


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        ({"layer": 1}, "layer", "is no parameter of the space: did you mean 'layers'?"),
        ({"optimizer.name": "adam"}, "optimizer.name", "must be one of 'sgd', 'adamw', got 'adam'"),
        ({"optimizer.momentum": 1.5}, "optimizer.momentum", "must be a number in [0, 0.99], got 1.5"),
        ({"optimizer.momentum": float("nan")}, "optimizer.momentum", "must be a number in [0, 0.99], got nan"),
        ({"optimizer.momentum": True}, "optimizer.momentum", "must be a number in [0, 0.99], got True"),
        ({"layers": 2}, "layers", "must be a whole number in [1, 5] in steps of 2, got 2"),
        ({"layers": 1.0}, "layers", "must be a whole number in [1, 5] in steps of 2, got 1.0"),
        ({"width": 8}, "width", "exists only when layers is 3 or 5; leave it out"),
        ({"layers": 3}, "width", "is missing; give a whole number in [8, 64]"),
        ({"layers": 3, "width": 9, "dropout": 0.1}, "dropout", "exists only when width is at least 32; leave it out"),
        ({"decay": 1e-7}, "decay", "must be 0 or a number in [1e-06, 0.01], got 1e-07"),
        ({"decay": False}, "decay", "must be 0 or a number in [1e-06, 0.01], got False"),
        ({"decay": 1e-3, "warm": 7}, "warm", "must be one of 0, 5, 10, got 7"),
        ({"seed": 4}, "seed", "must be 3, got 4"),
    ],
)
def test_a_configuration_outside_the_space_says_what_to_write(change: dict[str, Any], path: str, message: str) -> None:
    errors = [(error.path, error.message) for error in check_parameters(space(), {**GOOD, **change})]
    assert (f"parameters.{path}", message) in errors


def test_a_good_configuration_passes() -> None:
    assert check_parameters(space(), GOOD) == []
    other = {"optimizer.name": "adamw", "layers": 5, "width": 32, "dropout": 0.5, "decay": 1e-6, "warm": 0, "seed": 3}
    assert check_parameters(space(), other) == []
