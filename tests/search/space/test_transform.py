"""Transforms: every parameter has a scale on which the search is uniform."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.contract.space import (
    CategoricalParameter,
    ConstantParameter,
    FloatParameter,
    IntParameter,
    NumericParameter,
    Parameter,
)
from service.domain.parameter import contains, values_of
from service.search.space.transform import from_unit, to_unit

PARAMETERS: list[Parameter] = [
    FloatParameter(type="float", low=-3.0, high=5.0),
    FloatParameter(type="float", low=1e-5, high=1e-1, log=True),
    FloatParameter(type="float", low=0.1, high=0.95, step=0.1),
    IntParameter(type="int", low=-4, high=9),
    IntParameter(type="int", low=1, high=11, step=3),
    IntParameter(type="int", low=1, high=1000, log=True),
    FloatParameter(type="float", low=1e-6, high=1e-2, log=True, zero=True),
    CategoricalParameter(type="categorical", choices=[16, 32, 64], ordered=True),
    CategoricalParameter(type="categorical", choices=["a", True, 1, [1, 2], 0.5]),
    ConstantParameter(type="constant", value=0.9),
]
NUMBERS = [parameter for parameter in PARAMETERS if isinstance(parameter, NumericParameter)]

units = st.floats(0, 1)
each = pytest.mark.parametrize("parameter", PARAMETERS, ids=str)


@each
@settings(deadline=None)
@given(unit=units)
def test_every_place_is_a_value_of_the_parameter(parameter: Parameter, unit: float) -> None:
    value = from_unit(parameter, unit)
    assert contains(parameter, value)
    assert 0 <= to_unit(parameter, value) <= 1


@each
@settings(deadline=None)
@given(unit=units)
def test_a_value_comes_back_from_its_place(parameter: Parameter, unit: float) -> None:
    value = from_unit(parameter, unit)
    back = from_unit(parameter, to_unit(parameter, value))
    assert back == pytest.approx(value) if isinstance(value, float) else (back == value and type(back) is type(value))


@pytest.mark.parametrize("parameter", [*NUMBERS, PARAMETERS[-3]], ids=str)
@settings(deadline=None)
@given(units, units)
def test_numbers_keep_their_order(parameter: Parameter, one: float, other: float) -> None:
    first, second = (from_unit(parameter, unit) for unit in sorted([one, other]))
    assert first <= second  # type: ignore[operator]


@each
def test_the_ends_are_reached(parameter: Parameter) -> None:
    first, last = from_unit(parameter, 0.0), from_unit(parameter, 1.0)
    values = values_of(parameter)
    if values is not None:
        assert (first, last) == (values[0], values[-1])
    else:
        assert isinstance(parameter, FloatParameter)
        assert first == (0 if parameter.zero else pytest.approx(parameter.low))
        assert last == pytest.approx(parameter.high)


def test_the_middle_of_a_log_range_is_its_geometric_mean() -> None:
    assert from_unit(PARAMETERS[1], 0.5) == pytest.approx(math.sqrt(1e-5 * 1e-1))


def test_whole_numbers_share_the_interval_equally() -> None:
    parameter = IntParameter(type="int", low=1, high=4)
    drawn = [from_unit(parameter, (at + 0.5) / 400) for at in range(400)]
    assert [drawn.count(value) for value in (1, 2, 3, 4)] == [100] * 4


def test_the_ends_of_a_whole_log_range_count_as_fully_as_the_rest() -> None:
    parameter = IntParameter(type="int", low=1, high=1000, log=True)
    share = math.log(1.5 / 0.5) / math.log(1000.5 / 0.5)
    assert from_unit(parameter, share - 1e-6) == 1
    assert from_unit(parameter, share + 1e-6) == 2


def test_zero_owns_one_decade_below_a_log_range() -> None:
    decay = FloatParameter(type="float", low=1e-6, high=1e-2, log=True, zero=True)
    drawn = [from_unit(decay, (at + 0.5) / 500) for at in range(500)]
    assert drawn.count(0.0) == 100
    assert drawn[100] == pytest.approx(1e-6, rel=0.02)
    assert (to_unit(decay, 0.0), to_unit(decay, 1e-6)) == (pytest.approx(0.1), pytest.approx(0.2))
