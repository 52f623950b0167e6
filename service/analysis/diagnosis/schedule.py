"""The learning rate over a training, from its configuration: the factor of the base rate at each step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from service.analysis.diagnosis.curve import Floats

CYCLIC = frozenset({"cyclic"})
"""Schedules whose rate rises again and again."""


def is_cyclic(config: Mapping[str, Any]) -> bool:
    """Return whether the rate restarts in the middle of the training."""
    schedule = section(config, "schedule")
    return str(schedule.get("name")) in CYCLIC or number(schedule, "cycles", 1) > 1


def rate_factors(config: Mapping[str, Any], steps: Floats, last_step: float) -> Floats | None:
    """Return the schedule's factor of the base rate over each step, [n]; None: it is not known.

    Args:
        config: the mapping `task.train`.
        steps: the steps at whose end values were reported, [n].
        last_step: the step at which the training is meant to end.
    """
    if not config or last_step <= 0:
        return None
    schedule = section(config, "schedule")
    default = "cosine" if section(config, "optimizer").get("name") == "sgd" else "constant"
    name = schedule.get("name", default)
    shape = _SHAPES.get(name) if isinstance(name, str) else None
    if shape is None or is_cyclic(config):
        return None
    warmup = min(0.9, max(0.0, number(schedule, "warmup", 0.0)))
    middles = np.clip((steps - 0.5) / last_step, 0.0, 1.0)
    return np.array([_with_warmup(fraction, warmup, shape, schedule) for fraction in middles])


def section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a section of the configuration; empty if it is missing or no mapping."""
    found = config.get(name)
    return found if isinstance(found, Mapping) else {}


def number(settings: Mapping[str, Any], name: str, default: float) -> float:
    """Return a setting as a number, or the default where it is missing or no finite number."""
    value = settings.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return default
    return float(value)


def _with_warmup(fraction: float, warmup: float, shape: Shape, schedule: Mapping[str, Any]) -> float:
    if fraction < warmup:
        return fraction / warmup
    return shape((fraction - warmup) / (1 - warmup), schedule)


Shape = Callable[[float, Mapping[str, Any]], float]


def _between(final: float, share: float) -> float:
    return final + (1 - final) * share


def _cosine(fraction: float, schedule: Mapping[str, Any]) -> float:
    return _between(number(schedule, "final_fraction", 0.0), (1 + math.cos(math.pi * fraction)) / 2)


def _polynomial(fraction: float, schedule: Mapping[str, Any]) -> float:
    power = number(schedule, "power", 2.0)
    return _between(number(schedule, "final_fraction", 0.0), (1 - fraction) ** max(power, 1e-3))


def _linear(fraction: float, schedule: Mapping[str, Any]) -> float:
    return _between(number(schedule, "final_fraction", 0.0), 1 - fraction)


def _exponential(fraction: float, schedule: Mapping[str, Any]) -> float:
    return math.pow(max(number(schedule, "final_fraction", 0.01), 1e-12), fraction)


def _step(fraction: float, schedule: Mapping[str, Any]) -> float:
    every = max(number(schedule, "every", 0.3), 1e-3)
    return math.pow(number(schedule, "factor", 0.1), math.floor(fraction / every + 1e-9))


def _multi_step(fraction: float, schedule: Mapping[str, Any]) -> float:
    drops = _numbers(schedule.get("drops", (0.5, 0.75)))
    return math.pow(number(schedule, "factor", 0.1), sum(fraction >= drop for drop in drops))


def _multiplicative(fraction: float, schedule: Mapping[str, Any]) -> float:
    drops, factors = _numbers(schedule.get("drops", (0.5, 0.75))), _numbers(schedule.get("factors", (0.3, 0.1)))
    return math.prod(factor for drop, factor in zip(drops, factors, strict=False) if fraction >= drop)


def _stable_decay(fraction: float, schedule: Mapping[str, Any]) -> float:
    decay = max(number(schedule, "decay", 0.2), 1e-6)
    fallen = min(1.0, max(0.0, (fraction - (1 - decay)) / decay))
    return _between(number(schedule, "final_fraction", 0.0), 1 - math.sqrt(fallen))


def _numbers(value: object) -> Sequence[float]:
    if not isinstance(value, list | tuple):
        return ()
    return [float(each) for each in value if isinstance(each, int | float) and math.isfinite(each)]


_SHAPES: Mapping[str, Shape] = {
    "constant": lambda *_: 1.0,
    "cosine": _cosine,
    "linear": _linear,
    "polynomial": _polynomial,
    "exponential": _exponential,
    "step": _step,
    "multi_step": _multi_step,
    "multiplicative": _multiplicative,
    "warmup_stable_decay": _stable_decay,
}
"""Schedules whose rate follows from the completed fraction alone and does not restart."""
