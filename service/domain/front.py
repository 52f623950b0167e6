"""The Pareto front: which points no other one beats, where several things count; values in, places out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite
from operator import le
from typing import Any

from service.contract.base import Directions

Losses = tuple[float, ...]
"""A point: a value of each objective, of which smaller is better."""


def losses(values: Iterable[float], directions: Directions) -> Losses:
    """The values of a trial, one per objective, turned so that smaller is better."""
    return tuple(-value if each == "maximize" else value for value, each in zip(values, directions, strict=True))


def stored_losses(values: Any, directions: Directions) -> Losses | None:
    """The same of stored values; None where they are damaged: not one finite number per objective."""
    if not isinstance(values, list) or len(values) != len(directions):
        return None
    if not all(type(value) in (int, float) and isfinite(value) for value in values):
        return None
    return losses(values, directions)


def dominates(one: Losses, other: Losses) -> bool:
    """Whether `one` is nowhere worse than `other`, and somewhere better."""
    return all(map(le, one, other)) and one != other


def worst(points: Sequence[Losses]) -> Losses | None:
    """The worst of each objective among the points; none where there are none."""
    return tuple(map(max, zip(*points, strict=True))) or None


def front(points: Sequence[Losses]) -> list[int]:
    """The places, ascending, of the points that none dominates; equal points stay together.

    Takes len(points) · len(front) comparisons at most.
    """
    found: list[int] = []
    # In this order no point dominates one before it.
    for at in sorted(range(len(points)), key=points.__getitem__):
        if not any(dominates(points[known], points[at]) for known in found):
            found.append(at)
    return sorted(found)
