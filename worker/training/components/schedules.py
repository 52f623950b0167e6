"""Registry of learning-rate schedules: functions from the completed fraction of a training to a rate factor."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal, TypeAlias

from worker.training.errors import ConfigError
from worker.training.parameters import Setting
from worker.training.registry import Registry

Schedule: TypeAlias = Callable[[float], float]
"""Maps the completed fraction of the training, in [0, 1], to a factor of the base learning rate."""

SCHEDULES: Registry[Schedule] = Registry("schedule")

Warmup = Annotated[float, Setting("fraction of the training over which the rate first rises from 0", low=0.0, high=0.9)]
FinalFraction = Annotated[float, Setting("what is left of the base rate at the end, as a fraction", low=0.0, high=1.0)]
Floor = Annotated[float, Setting("lowest rate, as a fraction of the base rate", low=0.0, high=1.0)]

Factor = Annotated[float, Setting("what a drop multiplies the rate by", low=0.0, high=1.0)]
Drops = Annotated[
    Sequence[float], Setting("fractions of what follows the warm-up at which the rate drops", low=0.0, high=1.0)
]


_REMAINING: Mapping[str, Callable[[float], float]] = {
    "linear": lambda fallen: 1 - fallen,
    "cosine": lambda fallen: (1 + math.cos(math.pi * fallen)) / 2,
    "1-sqrt": lambda fallen: 1 - math.sqrt(fallen),
}
"""The shapes of a decay: the completed fraction of the decay, in [0, 1], to the fraction that remains."""

_SHORTEST_CYCLE = 1e-6
_LARGEST_EXPONENT = 700.0


@SCHEDULES.add
def constant(*, warmup: Warmup = 0.0) -> Schedule:
    """A constant learning rate."""
    return _with_warmup(warmup, lambda _: 1.0)


@SCHEDULES.add
def linear(*, warmup: Warmup = 0.0, final_fraction: FinalFraction = 0.0) -> Schedule:
    """Linear decay to the final fraction of the base rate."""
    return polynomial(power=1.0, warmup=warmup, final_fraction=final_fraction)


@SCHEDULES.add
def polynomial(
    *,
    warmup: Warmup = 0.0,
    final_fraction: FinalFraction = 0.0,
    power: Annotated[
        float, Setting("1 falls in a straight line, more falls sooner", low=0.0, exclusive_low=True)
    ] = 2.0,
) -> Schedule:
    """Polynomial decay to the final fraction of the base rate: the remaining training to the given power."""
    return _with_warmup(warmup, lambda fraction: _interpolate(final_fraction, 1.0, (1 - fraction) ** power))


@SCHEDULES.add
def cosine(
    *,
    warmup: Warmup = 0.0,
    final_fraction: FinalFraction = 0.0,
    cycles: Annotated[int, Setting("how often it falls; more than once for warm restarts", low=1)] = 1,
    cycle_mult: Annotated[
        float, Setting("factor by which each cycle is longer than the one before (T_mult)", low=1.0, high=10.0)
    ] = 1.0,
) -> Schedule:
    """Cosine decay to the final fraction of the base rate, once or with warm restarts (Loshchilov & Hutter 2017)."""
    first = 1 / cycles if cycle_mult == 1 else (cycle_mult - 1) / _growth(cycle_mult, cycles)
    if first < _SHORTEST_CYCLE:
        raise ConfigError(
            "schedule.cycles",
            f"the first of {cycles} cycles would take {first:.1g} of the training; use fewer cycles, or a smaller "
            "cycle_mult",
        )
    return _with_warmup(
        warmup,
        lambda fraction: _interpolate(
            final_fraction, 1.0, (1 + math.cos(math.pi * _cycle_fraction(fraction, cycles, cycle_mult))) / 2
        ),
    )


@SCHEDULES.add
def warmup_stable_decay(
    *,
    warmup: Warmup = 0.05,
    decay: Annotated[
        float, Setting("fraction of what follows the warm-up over which the rate falls, at its end", low=0.0, high=1.0)
    ] = 0.2,
    shape: Annotated[
        Literal["linear", "cosine", "1-sqrt"], Setting("how the rate falls: along a line, half a cosine, or 1 - sqrt")
    ] = "1-sqrt",
    final_fraction: FinalFraction = 0.0,
) -> Schedule:
    """Warm-up, a stable rate, then decay to the final fraction (WSD, Hu et al. 2024; 1-sqrt by Hägele et al. 2024)."""

    def factor(fraction: float) -> float:
        fallen = (fraction - (1 - decay)) / decay if fraction > 1 - decay else 0.0
        return _interpolate(final_fraction, 1.0, _REMAINING[shape](min(fallen, 1.0)))

    return _with_warmup(warmup, factor)


@SCHEDULES.add
def step(
    *,
    warmup: Warmup = 0.0,
    every: Annotated[
        float, Setting("fraction of what follows the warm-up between two drops", low=0.0, high=1.0, exclusive_low=True)
    ] = 0.3,
    factor: Factor = 0.1,
) -> Schedule:
    """Step decay: the rate drops by a factor at regular intervals."""
    # Add 1e-9, because rounding must not make three thirds less than a whole.
    return _with_warmup(warmup, lambda fraction: factor ** math.floor(fraction / every + 1e-9))


@SCHEDULES.add
def multi_step(*, warmup: Warmup = 0.0, drops: Drops = (0.5, 0.75), factor: Factor = 0.1) -> Schedule:
    """Step decay: the rate drops by the same factor at each of the given fractions."""
    return _with_warmup(warmup, lambda fraction: factor ** sum(fraction >= drop for drop in drops))


@SCHEDULES.add
def multiplicative(
    *,
    warmup: Warmup = 0.0,
    drops: Drops = (0.5, 0.75),
    factors: Annotated[Sequence[float], Setting("what each of the drops multiplies the rate by", low=0.0)] = (0.3, 0.1),
) -> Schedule:
    """Step decay: the rate is multiplied at each of the given fractions by that drop's own factor."""
    if len(factors) != len(drops):
        raise ConfigError(
            "schedule.factors", f"there are {len(factors)} factors for {len(drops)} drops; give one per drop"
        )
    return _with_warmup(
        warmup,
        lambda fraction: math.prod(factor for drop, factor in zip(drops, factors, strict=True) if fraction >= drop),
    )


@SCHEDULES.add
def exponential(
    *,
    warmup: Warmup = 0.0,
    final_fraction: Annotated[
        float, Setting("what is left of the base rate at the end, as a fraction", low=0.0, high=1.0, exclusive_low=True)
    ] = 0.01,
) -> Schedule:
    """Exponential decay: the rate shrinks by the same factor in every step."""
    return _with_warmup(warmup, lambda fraction: final_fraction**fraction)


@SCHEDULES.add
def inverse_sqrt(
    *,
    warmup: Annotated[
        float, Setting("fraction over which the rate rises; afterwards four times as far halves it", low=1e-6, high=0.9)
    ] = 0.05,
) -> Schedule:
    """Linear warm-up, then decay with the inverse square root of the completed fraction (Vaswani et al. 2017)."""
    return _with_warmup(warmup, lambda fraction: math.sqrt(warmup / (warmup + fraction * (1 - warmup))))


@SCHEDULES.add
def one_cycle(
    *,
    peak: Annotated[float, Setting("fraction at which the base rate is reached", low=0.0, high=1.0)] = 0.3,
    start: Annotated[float, Setting("where it begins, as a fraction of the base rate", low=0.0, high=1.0)] = 0.04,
    end: Annotated[float, Setting("where it ends, as a fraction of the base rate", low=0.0, high=1.0)] = 4e-6,
) -> Schedule:
    """One-cycle: rises to the base rate, then falls for longer, both along half a cosine (Smith & Topin 2018)."""

    def factor(fraction: float) -> float:
        if fraction < peak:
            return _interpolate(1.0, start, (1 + math.cos(math.pi * fraction / peak)) / 2)
        fall = (fraction - peak) / (1 - peak) if peak < 1 else 0.0
        return _interpolate(end, 1.0, (1 + math.cos(math.pi * fall)) / 2)

    return factor


@SCHEDULES.add
def cyclic(
    *,
    floor: Floor = 0.1,
    cycles: Annotated[int, Setting("how often it rises and falls", low=1)] = 4,
    shrink: Annotated[
        float, Setting("factor by which each cycle is lower than the one before", low=0.0, high=1.0)
    ] = 1.0,
) -> Schedule:
    """Cyclical learning rate: triangles between floor and base rate, of equal or shrinking height (Smith 2017)."""

    def factor(fraction: float) -> float:
        height = shrink ** min(math.floor(fraction * cycles), cycles - 1)
        return _interpolate(floor, 1.0, height * (1 - abs(2 * _cycle_fraction(fraction, cycles) - 1)))

    return factor


@SCHEDULES.add
def plateau(
    *,
    factor: Factor = 0.1,
    patience: Annotated[int, Setting("epochs without a better loss that are waited before a drop", low=0)] = 5,
    threshold: Annotated[float, Setting("share by which a loss has to be lower to count", low=0.0, high=1.0)] = 1e-4,
    floor: Floor = 0.0,
) -> Schedule:
    """Reduce on plateau: the rate drops by a factor when the loss stops falling (val/loss, else train/loss)."""
    return Plateau(factor, patience, threshold, floor)


class Plateau:
    """The only schedule with a memory: call `observe` after each epoch, and store `state` in checkpoints.

    Args:
        factor: what a drop multiplies the rate by, in [0, 1].
        patience: epochs without a better loss before a drop.
        threshold: the relative decrease below the best loss that counts as better, in [0, 1].
        floor: the smallest factor of the base rate, in [0, 1].
    """

    def __init__(self, factor: float, patience: int, threshold: float, floor: float) -> None:
        self._factor, self._patience, self._threshold, self._floor = factor, patience, threshold, floor
        self.state = {"factor": 1.0, "best": math.inf, "waited": 0.0}

    def __call__(self, _: float) -> float:
        return self.state["factor"]

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Take an epoch's metrics, and drop the rate if the loss has stopped falling."""
        loss, state = metrics.get("val/loss", metrics["train/loss"]), self.state
        if loss < state["best"] * (1 - self._threshold):
            state |= {"best": loss, "waited": 0.0}
            return
        state["waited"] += 1
        if state["waited"] > self._patience:
            state |= {"factor": max(state["factor"] * self._factor, self._floor), "waited": 0.0}


def _with_warmup(warmup: float, schedule: Schedule) -> Schedule:
    """Return a schedule with a linear warm-up over the first `warmup`, then `schedule` rescaled to the rest."""

    def factor(fraction: float) -> float:
        if fraction < warmup:
            return fraction / warmup
        return schedule((fraction - warmup) / (1 - warmup))

    return factor


def _interpolate(low: float, high: float, share: float) -> float:
    return low + (high - low) * share


def _cycle_fraction(fraction: float, cycles: int, mult: float = 1.0) -> float:
    """Return the completed fraction of the current cycle, 0 to 1; the end of the last cycle is 1, not 0.

    Args:
        fraction: the completed fraction of all cycles, in [0, 1].
        cycles: the number of cycles.
        mult: the factor by which each cycle is longer than the one before, at least 1.
    """
    if mult == 1:
        position = fraction * cycles
        return position - min(math.floor(position), cycles - 1)
    # With the first cycle as the unit, cycle i has the length mult**i.
    position = fraction * _growth(mult, cycles) / (mult - 1)
    # Add 1e-9, because rounding must not leave the beginning of a cycle in the one before.
    cycle = min(math.floor(math.log1p(position * (mult - 1)) / math.log(mult) + 1e-9), cycles - 1)
    begun = _growth(mult, cycle) / (mult - 1)
    return max(0.0, (position - begun) / mult**cycle)


def _growth(mult: float, cycles: int) -> float:
    """Return mult**cycles - 1, exact for a `mult` near 1 and infinite where no float can hold it."""
    exponent = cycles * math.log(mult)
    return math.inf if exponent > _LARGEST_EXPONENT else math.expm1(exponent)
