"""Each schedule against a table, and what holds of all of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.training.schedules import SCHEDULES


@pytest.mark.parametrize(
    ("name", "settings", "table"),
    [
        ("constant", {}, {0: 1, 0.5: 1, 1: 1}),
        ("constant", {"warmup": 0.2}, {0: 0, 0.1: 0.5, 0.2: 1, 1: 1}),
        ("cosine", {}, {0: 1, 0.25: 0.853553, 0.5: 0.5, 1: 0}),
        ("cosine", {"floor": 0.1, "warmup": 0.5}, {0.25: 0.5, 0.5: 1, 0.75: 0.55, 1: 0.1}),
        ("linear", {"floor": 0.2}, {0: 1, 0.5: 0.6, 1: 0.2}),
        ("step", {}, {0: 1, 0.49: 1, 0.5: 0.1, 0.75: 0.01, 1: 0.01}),
        ("exponential", {"final": 0.01}, {0: 1, 0.5: 0.1, 1: 0.01}),
    ],
)
def test_factors(name: str, settings: dict[str, object], table: dict[float, float]):
    schedule = SCHEDULES.create(name, SCHEDULES.check(name, settings))
    assert {fraction: schedule(fraction) for fraction in table} == pytest.approx(table)


@given(st.sampled_from([entry.name for entry in SCHEDULES]), st.floats(0, 0.9), st.floats(0, 1), st.floats(0, 1))
def test_a_rate_rises_through_its_warmup_and_never_after(name: str, warmup: float, one: float, other: float):
    schedule = SCHEDULES.create(name, SCHEDULES.check(name, {"warmup": warmup}))
    early, late = sorted((one, other))
    assert 0 <= schedule(early) <= 1
    if late < warmup:
        assert schedule(early) <= schedule(late)
    if early >= warmup:
        assert schedule(early) >= schedule(late) - 1e-12
