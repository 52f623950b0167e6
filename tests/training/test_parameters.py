"""Declared parameters are read from signatures, and values are checked against them."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.training.errors import ConfigError
from worker.training.parameters import Parameter, Setting, check_all, parameters_of


def factory(
    context: int,
    *,
    rate: Annotated[float, Setting("a rate", low=0.0, exclusive_low=True)],
    widths: Annotated[Sequence[int], Setting("widths", low=1)] = (8, 4),
    limit: int | None = None,
    shape: Literal["round", "square"] = "round",
    anything=None,
) -> None: ...


DECLARED = parameters_of(factory)


def test_keyword_only_parameters_become_settings():
    assert list(DECLARED) == ["rate", "widths", "limit", "shape", "anything"]
    assert [each.type for each in DECLARED.values()] == ["float", "list[int]", "int", "str", "any"]
    assert DECLARED["rate"].is_required
    assert DECLARED["widths"].default == [8, 4]


def test_a_description_is_what_the_catalogue_shows():
    assert DECLARED["rate"].describe() == {
        "type": "float", "required": True, "description": "a rate", "low": 0.0, "exclusive_low": True,
    }  # fmt: skip
    assert DECLARED["shape"].describe()["choices"] == ["round", "square"]


def test_defaults_fill_what_is_not_given():
    assert check_all("x", "it", DECLARED, {"rate": 1}) == {
        "rate": 1.0, "widths": [8, 4], "limit": None, "shape": "round", "anything": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "x.rate: missing, but it needs it: a rate"),
        ({"rate": -1}, "x.rate: must be > 0, got -1"),
        ({"rate": 0}, "x.rate: must be > 0, got 0"),
        ({"rate": "1e-4"}, "x.rate: must be a number, got '1e-4'"),
        ({"rate": float("nan")}, "x.rate: must be a number, got nan"),
        ({"rate": True}, "x.rate: must be a number, got True"),
        ({"rate": 1, "limit": 2.5}, "x.limit: must be a whole number, got 2.5"),
        ({"rate": 1, "widths": 8}, "x.widths: must be a list of whole numbers, got 8"),
        ({"rate": 1, "widths": [8, 0]}, "x.widths[1]: must be >= 1, got 0"),
        ({"rate": 1, "shape": "squar"}, "x.shape: unknown choice 'squar'; did you mean 'square'?"),
        ({"rates": 1}, "x.rates: it has no such setting; did you mean 'rate'?"),
    ],
)
def test_a_bad_value_is_reported_by_its_path(given: dict[str, Any], message: str):
    with pytest.raises(ConfigError) as caught:
        check_all("x", "it", DECLARED, given)
    assert str(caught.value) == message


@given(st.integers(-(2**53), 2**53))
def test_an_integral_float_is_an_int_where_one_is_due(number: int):
    checked = Parameter("n", "int").check("n", float(number))
    assert checked == number
    assert type(checked) is int


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(-10, 10), st.floats(-10, 10))
def test_bounds_hold_exactly_what_they_say(value: float, low: float, high: float):
    parameter = Parameter("x", "float", low=low, high=high)
    if low <= value <= high:
        assert parameter.check("x", value) == value
    else:
        with pytest.raises(ConfigError):
            parameter.check("x", value)
