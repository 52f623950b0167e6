"""Finite spaces: configurations are counted and indexed by arithmetic, equal to an enumeration."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from service.contract.base import Value
from service.contract.space import Space
from service.domain.finite_space import configuration_grid, num_configurations
from service.domain.parameter import values_of
from service.domain.space import check_parameters, is_active, topological_order


def space(parameters: dict[str, Any]) -> Space:
    return TypeAdapter(Space).validate_python(parameters)


def listed(checked: Space) -> list[dict[str, Value]]:
    """Every configuration, the slow way: the full product, cut down to active parameters, without repeats."""
    names = topological_order(checked)
    found: dict[str, dict[str, Value]] = {}
    for values in itertools.product(*(values_of(checked[name]) or [] for name in names)):
        active: dict[str, Value] = {}
        for name, value in zip(names, values, strict=True):
            if is_active(checked[name], active):
                active[name] = value
        found[repr(active)] = active
    return list(found.values())


@st.composite
def finite_spaces(draw: st.DrawFn) -> Space:
    parameters: dict[str, Any] = {}
    for at in range(draw(st.integers(1, 5))):
        low = draw(st.integers(0, 3))
        kind: dict[str, Any] = draw(
            st.sampled_from(
                [
                    {"type": "int", "low": low, "high": low + 3},
                    {"type": "categorical", "choices": ["a", "b", [1, 2], True, 1][low:]},
                    {"type": "float", "low": 0.1, "high": 0.45, "step": 0.1},
                    {"type": "constant", "value": "only"},
                    {"type": "categorical", "choices": [1, 2, 4, 8][low:], "ordered": True},
                ]
            )
        )
        is_conditional = draw(st.booleans())
        if parameters and is_conditional:
            condition: dict[str, Any] = {}
            for name in draw(st.lists(st.sampled_from(list(parameters)), min_size=1, max_size=2, unique=True)):
                values = [value for value in values_of(space({name: parameters[name]})[name]) or [] if value != [1, 2]]
                is_range = parameters[name]["type"] in ("int", "float") and draw(st.booleans())
                if is_range or parameters[name]["type"] == "float":
                    condition[name] = {draw(st.sampled_from(["low", "high"])): draw(st.sampled_from(values))}
                else:
                    condition[name] = draw(st.lists(st.sampled_from(values), min_size=1, max_size=2))
            kind = {**kind, "when": condition}
        parameters[f"p{at}"] = kind
    return space(parameters)


@settings(deadline=None)
@given(finite_spaces())
def test_numbering_is_the_same_as_listing(checked: Space) -> None:
    found = configuration_grid(checked)
    assert found is not None
    expected = listed(checked)
    assert found.size == len(expected)
    assert [found[index] for index in range(found.size)] == expected
    assert all(check_parameters(checked, values) == [] for values in expected)


def test_a_number_outside_is_an_index_error() -> None:
    found = configuration_grid(space({"a": {"type": "int", "low": 1, "high": 3}}))
    assert found is not None
    with pytest.raises(IndexError):
        found[3]
    with pytest.raises(IndexError):
        found[-1]


def test_a_continuous_range_makes_a_space_infinite() -> None:
    assert (
        num_configurations(
            space({"a": {"type": "float", "low": 0, "high": 1}, "b": {"type": "int", "low": 0, "high": 1}})
        )
        is None
    )


def test_billions_of_cells_cost_nothing() -> None:
    huge = space(
        {
            "a": {"type": "int", "low": 1, "high": 10**9},
            "b": {"type": "float", "low": 0, "high": 1, "step": 1e-9},
            "c": {"type": "int", "low": 1, "high": 3, "when": {"a": [7, 10**8]}},
            "d": {"type": "int", "low": 1, "high": 2, "when": {"b": {"low": 0.5, "high": 0.75}}},
        }
    )
    found = configuration_grid(huge)
    assert found is not None
    assert found.size == (10**9 - 2 + 2 * 3) * (10**9 + 1 + 10**9 // 4 + 1)
    assert found[0] == {"a": 1, "b": 0.0}
    assert found[found.size - 1] == {"a": 10**9, "b": 1.0}
    assert found[5 * 10**8 + 1] == {"a": 1, "b": 0.5, "d": 2}


def test_steps_read_as_the_study_file_would_write_them() -> None:
    lattice = values_of(space({"a": {"type": "float", "low": 0.1, "high": 0.5, "step": 0.1}})["a"])
    assert lattice is not None
    assert list(lattice) == [0.1, 0.2, 0.3, 0.4, 0.5]
