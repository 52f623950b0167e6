"""Each schedule against a table, and properties of all."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from worker.training import ConfigError
from worker.training.components.schedules import SCHEDULES, Plateau, Schedule

RISING = {"one_cycle", "cyclic"}


def create(name: str, **settings: object) -> Schedule:
    return SCHEDULES.create(name, SCHEDULES.check(name, settings))


TABLES: list[tuple[str, dict[str, object], dict[float, float]]] = [
    ("constant", {}, {0: 1, 0.5: 1, 1: 1}),
    ("constant", {"warmup": 0.2}, {0: 0, 0.1: 0.5, 0.2: 1, 1: 1}),
    ("cosine", {}, {0: 1, 0.25: 0.853553, 0.5: 0.5, 1: 0}),
    ("cosine", {"final_fraction": 0.1, "warmup": 0.5}, {0.25: 0.5, 0.5: 1, 0.75: 0.55, 1: 0.1}),
    ("cosine", {"cycles": 2}, {0: 1, 0.25: 0.5, 0.499999: 0, 0.5: 1, 0.75: 0.5, 1: 0}),
    ("linear", {"final_fraction": 0.2}, {0: 1, 0.5: 0.6, 1: 0.2}),
    ("polynomial", {"power": 2}, {0: 1, 0.5: 0.25, 1: 0}),
    ("polynomial", {"power": 0.5, "final_fraction": 0.5}, {0: 1, 0.75: 0.75, 1: 0.5}),
    ("step", {}, {0: 1, 0.29: 1, 0.3: 0.1, 0.6: 0.01, 0.9: 0.001, 1: 0.001}),
    ("step", {"every": 1 / 3, "factor": 0.5}, {0.33: 1, 2 / 3: 0.25, 1: 0.125}),
    ("multi_step", {}, {0: 1, 0.49: 1, 0.5: 0.1, 0.75: 0.01, 1: 0.01}),
    ("multiplicative", {}, {0: 1, 0.49: 1, 0.5: 0.3, 0.75: 0.03, 1: 0.03}),
    ("multiplicative", {"drops": [0.2], "factors": [2]}, {0.1: 1, 0.2: 2}),
    ("exponential", {"final_fraction": 0.01}, {0: 1, 0.5: 0.1, 1: 0.01}),
    ("inverse_sqrt", {"warmup": 0.1}, {0: 0, 0.05: 0.5, 0.1: 1, 0.4: 0.5, 0.9: 1 / 3}),
    ("one_cycle", {"peak": 0.2, "start": 0.1, "end": 0}, {0: 0.1, 0.1: 0.55, 0.2: 1, 0.6: 0.5, 1: 0}),
    ("one_cycle", {"peak": 1}, {0: 0.04, 1: 1}),
    ("cyclic", {"cycles": 2, "floor": 0.2}, {0: 0.2, 0.25: 1, 0.375: 0.6, 0.5: 0.2, 0.75: 1, 1: 0.2}),
    ("cyclic", {"cycles": 2, "floor": 0, "shrink": 0.5}, {0.25: 1, 0.5: 0, 0.75: 0.5, 1: 0}),
    ("plateau", {}, {0: 1, 0.5: 1, 1: 1}),
]


@pytest.mark.parametrize(("name", "settings", "table"), TABLES)
def test_factors(name: str, settings: dict[str, object], table: dict[float, float]):
    schedule = create(name, **settings)
    assert {fraction: schedule(fraction) for fraction in table} == pytest.approx(table, abs=1e-6)


def test_every_schedule_has_a_table():
    assert {name for name, _, _ in TABLES} == {entry.name for entry in SCHEDULES}


@given(st.sampled_from([entry.name for entry in SCHEDULES]), st.floats(0.01, 0.9), st.floats(0, 1), st.floats(0, 1))
def test_a_rate_rises_through_its_warmup_and_never_after(name: str, warmup: float, one: float, other: float):
    warms = "warmup" in SCHEDULES.entry(name).parameters
    schedule = create(name, **({"warmup": warmup} if warms else {}))
    early, late = sorted((one, other))
    assert 0 <= schedule(early) <= 1
    if warms and late < warmup:
        assert schedule(early) <= schedule(late)
    if name not in RISING and (early >= warmup or not warms):
        assert schedule(early) >= schedule(late) - 1e-12


@pytest.mark.parametrize("metric", ["val/loss", "train/loss"])
@given(st.lists(st.sampled_from([1.0, 0.9, 0.8999, 0.5, 0.4, 2.0]), max_size=30), st.integers(0, 3))
def test_a_plateau_drops_where_pytorchs_does(metric: str, losses: list[float], patience: int):
    schedule = create("plateau", factor=0.5, patience=patience, threshold=1e-3, floor=0.2)
    assert isinstance(schedule, Plateau)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=patience, threshold=1e-3, min_lr=0.2, eps=0
    )
    for loss in losses:
        schedule.observe({"train/loss": 7.0, metric: loss})
        reference.step(loss)
        assert schedule(0.5) == optimizer.param_groups[0]["lr"]


def test_each_drop_needs_its_factor():
    with pytest.raises(ConfigError, match=r"schedule\.factors: there are 1 factors for 2 drops"):
        create("multiplicative", factors=[0.5])
