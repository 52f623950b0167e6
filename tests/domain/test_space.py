"""Conditions are checked at creation; configurations are checked against the space."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from service.contract.space import Space
from service.domain.space import check_parameters, check_space, is_active, ordered

SPACE: dict[str, Any] = {
    "optimizer.name": {"type": "categorical", "choices": ["sgd", "adamw"]},
    "optimizer.momentum": {"type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer.name": "sgd"}},
    "layers": {"type": "int", "low": 1, "high": 5, "step": 2},
    "width": {"type": "int", "low": 8, "high": 64, "when": {"layers": [3, 5]}},
}


def space(**changes: Any) -> Space:
    return TypeAdapter(Space).validate_python({**SPACE, **changes})


def when(**condition: Any) -> dict[str, Any]:
    return {"type": "int", "low": 0, "high": 1, "when": condition}


def messages(checked: Space) -> list[str]:
    return [error.message for error in check_space(checked)]


def test_a_sound_space_has_no_errors() -> None:
    assert messages(space()) == []


NEVER_EQUAL = "is a float, which hardly ever equals a value; let the condition name a categorical or int"


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"layer": 1}, "names 'layer', which is no parameter of the space: did you mean 'layers'?"),
        ({"optimizer.name": "adam"}, "optimizer.name is never 'adam'; did you mean 'adamw'?"),
        ({"layers": 2}, "layers is never 2; it is a whole number in [1, 5] in steps of 2"),
        ({"layers": True}, "layers is never True; it is a whole number in [1, 5] in steps of 2"),
        ({"layers": []}, "lists no value of layers, so that the parameter would never exist; list one"),
        ({"optimizer.momentum": 0.9}, f"optimizer.momentum {NEVER_EQUAL}"),
    ],
)
def test_an_impossible_condition_says_what_to_write(condition: dict[str, Any], message: str) -> None:
    errors = check_space(space(extra=when(**condition)))
    assert [(error.path, error.message) for error in errors] == [("space.extra.when", message)]


def test_a_circle_of_conditions_is_named() -> None:
    circle = space(a=when(b=1), b=when(c=0), c=when(a=1), behind=when(a=0))
    assert messages(circle) == ["the conditions form a circle: a -> b -> c -> a; drop one of them"]


def test_a_parameter_that_waits_for_itself_is_a_circle() -> None:
    assert messages(space(a=when(a=1))) == ["the conditions form a circle: a -> a; drop one of them"]


def test_the_order_puts_conditions_first_and_ignores_the_order_of_keys() -> None:
    forward = space()
    backward = dict(reversed(forward.items()))
    assert ordered(forward) == ["layers", "width", "optimizer.name", "optimizer.momentum"] == ordered(backward)


def test_a_parameter_exists_only_under_its_condition() -> None:
    width = space()["width"]
    assert is_active(width, {"layers": 3})
    assert not is_active(width, {"layers": 1})
    assert not is_active(width, {})


GOOD = {"optimizer.name": "sgd", "optimizer.momentum": 0.9, "layers": 1}


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
    ],
)
def test_a_configuration_outside_the_space_says_what_to_write(change: dict[str, Any], path: str, message: str) -> None:
    errors = [(error.path, error.message) for error in check_parameters(space(), {**GOOD, **change})]
    assert (f"parameters.{path}", message) in errors


def test_a_good_configuration_passes() -> None:
    assert check_parameters(space(), GOOD) == []
    assert check_parameters(space(), {"optimizer.name": "adamw", "layers": 5, "width": 8}) == []
