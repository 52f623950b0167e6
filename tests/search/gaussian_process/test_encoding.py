"""Configurations as points: the same positions as single values have, and conditions as a mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.space import check_parameters
from service.search.gaussian_process.encoding import Encoding
from service.search.space.transform import from_unit, to_unit
from tests.search.studies import DIGITS, EVERY_KIND, study

WIDE: dict[str, Any] = {
    "int": {"type": "int", "low": -5, "high": 2**40},
    "int log": {"type": "int", "low": 1, "high": 1000, "log": True},
    "float": {"type": "float", "low": -1e300, "high": 1e200},
    "float step": {"type": "float", "low": 0.1, "high": 0.7, "step": 0.2},
    "float log": {"type": "float", "low": 1e-30, "high": 1e8, "log": True},
    "float log zero": {"type": "float", "low": 1e-6, "high": 1e-1, "log": True, "zero": True},
    "ordered": {"type": "categorical", "choices": [16, 32, 64], "ordered": True},
    "choices": {"type": "categorical", "choices": ["a", True, 1, [1, 2]]},
}


@pytest.mark.parametrize("name", WIDE)
@settings(max_examples=60, deadline=None)
@given(unit=st.floats(0.0, 1.0))
def test_a_coordinate_moves_to_the_position_of_its_value(name: str, unit: float) -> None:
    space = study({name: WIDE[name]}).space
    (moved,) = Encoding(space).nearest(np.array([[unit]])).units[0]
    assert moved == pytest.approx(to_unit(space[name], from_unit(space[name], unit)), abs=1e-9)
    value, expected = from_unit(space[name], moved), from_unit(space[name], unit)
    assert value == (pytest.approx(expected, rel=1e-6) if isinstance(expected, float) else expected)


@pytest.mark.parametrize("space", [DIGITS, EVERY_KIND], ids=["digits", "every kind"])
def test_points_and_configurations_correspond(space: dict[str, Any]) -> None:
    spec = study(space)
    encoding = Encoding(spec.space)
    drawn = encoding.nearest(np.random.default_rng(0).random((200, len(encoding))))
    configurations = [encoding.configuration(each) for each in drawn.units]
    assert not any(check_parameters(spec.space, each) for each in configurations)
    again = encoding.points(configurations)
    assert (again.active == drawn.active).all()
    assert np.allclose(again.units, drawn.units, atol=1e-9)


def test_an_inactive_parameter_has_no_position() -> None:
    encoding = Encoding(study(EVERY_KIND).space)
    points = encoding.nearest(np.random.default_rng(1).random((100, len(encoding))))
    momentum, optimizer = encoding.names.index("optimizer.momentum"), encoding.names.index("optimizer.name")
    assert set(points.active[:, momentum]) == {False, True}
    assert (points.active[:, momentum] == (points.units[:, optimizer] < 0.5)).all(), "only sgd has momentum"
    assert (points.units[~points.active] == 0.5).all()


def test_constants_are_no_coordinates() -> None:
    encoding = Encoding(study(EVERY_KIND).space)
    assert "optimizer.nesterov" not in encoding.names
    assert set(encoding.names) == set(EVERY_KIND) - {"optimizer.nesterov"}
