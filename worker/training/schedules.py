"""Learning-rate schedules by name: functions from the fraction of the horizon done to a factor of the base rate."""

import math
from collections.abc import Callable, Sequence
from typing import Annotated, TypeAlias

from worker.training.parameters import Setting
from worker.training.registry import Registry

Schedule: TypeAlias = Callable[[float], float]

SCHEDULES: Registry[Schedule] = Registry("schedule")

Warmup = Annotated[float, Setting("fraction of the training over which the rate first rises from 0", low=0.0, high=0.9)]
Floor = Annotated[float, Setting("what is left of the base rate at the end, as a fraction", low=0.0, high=1.0)]


@SCHEDULES.add
def constant(*, warmup: Warmup = 0.0) -> Schedule:
    """The base rate throughout."""
    return _warmed(warmup, lambda _: 1.0)


@SCHEDULES.add
def cosine(*, warmup: Warmup = 0.0, floor: Floor = 0.0) -> Schedule:
    """Half a cosine from the base rate to the floor (Loshchilov & Hutter 2017)."""
    return _warmed(warmup, lambda fraction: floor + (1 - floor) * (1 + math.cos(math.pi * fraction)) / 2)


@SCHEDULES.add
def linear(*, warmup: Warmup = 0.0, floor: Floor = 0.0) -> Schedule:
    """A straight line from the base rate to the floor."""
    return _warmed(warmup, lambda fraction: floor + (1 - floor) * (1 - fraction))


@SCHEDULES.add
def step(
    *,
    warmup: Warmup = 0.0,
    drops: Annotated[
        Sequence[float], Setting("fractions after the warm-up at which the rate drops", low=0.0, high=1.0)
    ] = (0.5, 0.75),
    factor: Annotated[float, Setting("what each drop multiplies the rate by", low=0.0, high=1.0)] = 0.1,
) -> Schedule:
    """A constant rate that drops by a factor at given fractions."""
    return _warmed(warmup, lambda fraction: factor ** sum(fraction >= drop for drop in drops))


@SCHEDULES.add
def exponential(
    *,
    warmup: Warmup = 0.0,
    final: Annotated[
        float, Setting("what is left of the base rate at the end, as a fraction", low=0.0, high=1.0, exclusive_low=True)
    ] = 0.01,
) -> Schedule:
    """Exponential decay: the rate shrinks by the same factor in every step."""
    return _warmed(warmup, lambda fraction: final**fraction)


def _warmed(warmup: float, schedule: Schedule) -> Schedule:
    """A linear rise over the first `warmup`, then `schedule` over what remains, from its own 0 to 1."""

    def factor(fraction: float) -> float:
        if fraction < warmup:
            return fraction / warmup
        return schedule((fraction - warmup) / (1 - warmup))

    return factor
