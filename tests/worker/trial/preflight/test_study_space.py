"""The centre and the extremes of a study's space lie in the space and meet its conditions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from service.contract.space import Space
from service.domain.parameter import contains
from service.domain.space import check_parameters
from worker.trial.preflight.study_space import search_space_of

SPACE: TypeAdapter[Space] = TypeAdapter(Space)

WHOLE = {
    "optimizer.name": {"type": "categorical", "choices": ["sgd", "adamw", "rmsprop"]},
    "optimizer.lr": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
    "optimizer.momentum": {"type": "float", "low": 0.0, "high": 0.9, "when": {"optimizer.name": ["sgd", "rmsprop"]}},
    "optimizer.nesterov": {
        "type": "categorical", "choices": [False, True],
        "when": {"optimizer.name": "sgd", "optimizer.momentum": {"low": 0.5}},
    },
    "optimizer.weight_decay": {"type": "float", "low": 1e-6, "high": 1e-2, "log": True, "zero": True},
    "model.width": {"type": "int", "low": 16, "high": 250, "step": 32},
    "epochs": {"type": "constant", "value": 5},
}  # fmt: skip


def converted(space: dict[str, Any], base: dict[str, Any] | None = None) -> Any:
    checked = SPACE.validate_python(space)
    return checked, search_space_of(checked, base or {})


def test_the_centre_is_a_configuration_of_the_space() -> None:
    checked, found = converted(WHOLE)
    assert check_parameters(checked, found.centre) == []
    assert found.centre["optimizer.lr"] == pytest.approx(1e-3)
    assert found.centre["model.width"] == 144
    assert "optimizer.nesterov" not in found.centre
    assert found.centre["epochs"] == 5


def test_the_choice_of_the_base_is_the_centre() -> None:
    _, found = converted(WHOLE, {"optimizer": {"name": "adamw"}})
    assert found.centre["optimizer.name"] == "adamw"
    assert "optimizer.momentum" not in found.centre


def test_ends_of_ranges_are_values_of_the_space() -> None:
    checked, found = converted(WHOLE)
    for name, parameter in found.parameters.items():
        assert all(contains(checked[name], value) for value in parameter.values), name
    assert found.parameters["optimizer.weight_decay"].values[0] == 0.0
    assert found.parameters["model.width"].values == [16, 240]


def test_a_parameter_tells_what_it_requires_at_any_depth() -> None:
    checked, found = converted(WHOLE, {"optimizer": {"name": "adamw"}})
    for name, parameter in found.parameters.items():
        values = {**found.centre, **parameter.requires, name: parameter.values[-1]}
        assert not any(name in error.path for error in check_parameters(checked, values)), name
    assert found.parameters["optimizer.nesterov"].requires["optimizer.momentum"] >= 0.5


@given(st.integers(-1000, 1000), st.integers(1, 500), st.integers(1, 60))
def test_the_centre_of_a_range_of_integers_is_one_of_them(low: int, width: int, step: int) -> None:
    checked, found = converted({"x": {"type": "int", "low": low, "high": low + width, "step": min(step, width)}})
    assert check_parameters(checked, found.centre) == []
    assert all(contains(checked["x"], value) for value in found.parameters["x"].values)


def test_of_ordered_choices_the_middle_one_is_the_centre() -> None:
    sizes = {"type": "categorical", "choices": [16, 32, 64, 128], "ordered": True}
    assert converted({"batch_size": sizes})[1].centre == {"batch_size": 64}
    assert converted({"batch_size": sizes}, {"batch_size": 16})[1].centre == {"batch_size": 16}
    assert converted({"batch_size": {**sizes, "ordered": False}})[1].centre == {"batch_size": 16}


@pytest.mark.parametrize(
    "parameter",
    [
        {"type": "float", "low": 1e200, "high": 1e300, "log": True},
        {"type": "float", "low": 1e-300, "high": 1e-200, "log": True},
        {"type": "float", "low": -8e307, "high": 8e307},
        {"type": "float", "low": 1.2345678901, "high": 1.2345678902},
        {"type": "int", "low": -(2**53), "high": 2**53},
    ],
    ids=str,
)
def test_the_centre_of_an_extreme_range_lies_in_it(parameter: dict[str, Any]) -> None:
    checked, found = converted({"x": parameter})
    assert contains(checked["x"], found.centre["x"])


def test_a_truth_value_is_no_number() -> None:
    choices = {"type": "categorical", "choices": [0, True]}
    assert converted({"x": choices}, {"x": 1})[1].centre == {"x": 0}
    assert converted({"x": choices}, {"x": True})[1].centre == {"x": True}
