"""Each schedule against a table, and properties of all."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from worker.training import ConfigError
from worker.training.components.schedules import SCHEDULES, Plateau, Schedule

RISING = {"one_cycle", "cyclic"}


def optimizer_of_rate_1() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)


def create(name: str, **settings: object) -> Schedule:
    return SCHEDULES.create(name, SCHEDULES.check(name, settings))


TABLES: list[tuple[str, dict[str, object], dict[float, float]]] = [
    ("constant", {}, {0: 1, 0.5: 1, 1: 1}),
    ("constant", {"warmup": 0.2}, {0: 0, 0.1: 0.5, 0.2: 1, 1: 1}),
    ("cosine", {}, {0: 1, 0.25: 0.853553, 0.5: 0.5, 1: 0}),
    ("cosine", {"final_fraction": 0.1, "warmup": 0.5}, {0.25: 0.5, 0.5: 1, 0.75: 0.55, 1: 0.1}),
    ("cosine", {"cycles": 2}, {0: 1, 0.25: 0.5, 0.499999: 0, 0.5: 1, 0.75: 0.5, 1: 0}),
    # Cycles of 1, 2 and 4 sevenths.
    ("cosine", {"cycles": 3, "cycle_mult": 2}, {0: 1, 0.5 / 7: 0.5, 1 / 7: 1, 2 / 7: 0.5, 3 / 7: 1, 5 / 7: 0.5, 1: 0}),
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
    (
        "warmup_stable_decay",
        {"warmup": 0.1, "decay": 0.2, "shape": "linear", "final_fraction": 0.1},
        {0: 0, 0.05: 0.5, 0.1: 1, 0.5: 1, 0.82: 1, 0.91: 0.55, 1: 0.1},
    ),
    ("warmup_stable_decay", {"warmup": 0, "decay": 0.4, "shape": "cosine"}, {0.6: 1, 0.7: 0.853553, 0.8: 0.5, 1: 0}),
    ("warmup_stable_decay", {"warmup": 0, "decay": 0.4}, {0: 1, 0.6: 1, 0.7: 0.5, 0.8: 0.292893, 1: 0}),
    ("warmup_stable_decay", {"warmup": 0, "decay": 1, "shape": "linear"}, {0: 1, 0.25: 0.75, 1: 0}),
    ("warmup_stable_decay", {"warmup": 0, "decay": 0}, {0: 1, 1: 1}),
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
    optimizer = optimizer_of_rate_1()
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=patience, threshold=1e-3, min_lr=0.2, eps=0
    )
    for loss in losses:
        schedule.observe({"train/loss": 7.0, metric: loss})
        reference.step(loss)
        assert schedule(0.5) == optimizer.param_groups[0]["lr"]


@pytest.mark.filterwarnings("ignore:Detected call of .lr_scheduler.step:UserWarning")
@pytest.mark.parametrize(("mult", "cycles"), [(1, 4), (2, 1), (2, 5), (3, 3)])
def test_warm_restarts_are_where_pytorchs_are(mult: int, cycles: int):
    first = 7
    total = first * sum(mult**cycle for cycle in range(cycles))
    schedule = create("cosine", cycles=cycles, cycle_mult=mult, final_fraction=0.1)
    optimizer = optimizer_of_rate_1()
    reference = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, first, mult, eta_min=0.1)
    for step in range(total):
        for at in (step, step + 0.25, step + 0.75):
            reference.step(at)
            assert schedule(at / total) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9), (mult, at)


@given(st.floats(1.0, 10.0), st.integers(1, 300), st.floats(0, 1))
def test_cycles_that_grow_stay_within_the_rate_or_are_refused(mult: float, cycles: int, fraction: float):
    lengths = sum(mult**-cycle for cycle in range(cycles))  # in units of the last cycle
    if mult ** (1 - cycles) / lengths < 1e-6:
        with pytest.raises(ConfigError, match=r"schedule\.cycles: the first of \d+ cycles would take .*; use fewer"):
            create("cosine", cycles=cycles, cycle_mult=mult)
        return
    schedule = create("cosine", cycles=cycles, cycle_mult=mult)
    assert 0 <= schedule(fraction) <= 1
    assert schedule(1.0) == pytest.approx(0, abs=1e-6)


@pytest.mark.prove
@pytest.mark.parametrize("shape", ["linear", "cosine", "1-sqrt"])
def test_a_warmup_stable_decay_is_that_of_transformers(shape: str):
    get_wsd_schedule = pytest.importorskip("transformers.optimization").get_wsd_schedule

    warmup, stable, decay = 10, 70, 20
    schedule = create("warmup_stable_decay", warmup=0.1, decay=decay / 90, shape=shape, final_fraction=0.05)
    (reference,) = get_wsd_schedule(
        optimizer_of_rate_1(), warmup, decay, num_stable_steps=stable, decay_type=shape, min_lr_ratio=0.05
    ).lr_lambdas
    # In its warm-up the reference begins at the final fraction instead of 0.
    steps = range(warmup, warmup + stable + decay + 1)
    assert [schedule(step / 100) for step in steps] == pytest.approx([reference(step) for step in steps], abs=1e-9)


def test_each_drop_needs_its_factor():
    with pytest.raises(ConfigError, match=r"schedule\.factors: there are 1 factors for 2 drops"):
        create("multiplicative", factors=[0.5])
