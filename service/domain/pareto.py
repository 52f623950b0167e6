"""The Pareto front of multi-objective results: loss vectors, dominance, and the non-dominated points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite
from operator import le
from typing import Any

from service.contract.base import Directions

LossVector = tuple[float, ...]
"""A loss vector: one value per objective, smaller is better."""


def losses(values: Iterable[float], directions: Directions) -> LossVector:
    """Convert the values of a trial, one per objective, so that smaller is better."""
    return tuple(-value if each == "maximize" else value for value, each in zip(values, directions, strict=True))


def stored_losses(values: Any, directions: Directions) -> LossVector | None:
    """Convert stored values as `losses` does; return None if they are not one finite number per objective."""
    if not isinstance(values, list) or len(values) != len(directions):
        return None
    if not all(type(value) in (int, float) and isfinite(value) for value in values):
        return None
    return losses(values, directions)


def dominates(one: LossVector, other: LossVector) -> bool:
    """Return whether `one` is no worse than `other` in every objective, and better in at least one."""
    return all(map(le, one, other)) and one != other


def nadir(points: Sequence[LossVector]) -> LossVector | None:
    """Return the nadir: the worst value of each objective among the points. None if there are no points."""
    return tuple(map(max, zip(*points, strict=True))) or None


def pareto_front(points: Sequence[LossVector]) -> list[int]:
    """Return the indices of the points on the Pareto front, ascending.

    Equal points are all on the front or all off it. Takes at most len(points) · len(front) comparisons.
    """
    found: list[int] = []
    # In lexicographic order no point dominates an earlier one.
    for at in sorted(range(len(points)), key=points.__getitem__):
        if not any(dominates(points[known], points[at]) for known in found):
            found.append(at)
    return sorted(found)
