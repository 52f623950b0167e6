"""Comparison of an objective value with reference values: a baseline, the best published result, human performance."""

from __future__ import annotations

from service.contract.base import Direction
from service.contract.study import Reference


def reference_summary(value: float, reference: Reference, direction: Direction) -> str | None:
    """Describe which reference values `value` reaches and by how much it misses the others.

    Returns:
        For example "reaches baseline 0.1, published 0.98; 0.0067 short of human 0.99"; None if there are no reference
        values.
    """
    sign = 1.0 if direction == "maximize" else -1.0
    known = [(name, level) for name, level in reference.model_dump().items() if level is not None]
    reached = [f"{name} {level:g}" for name, level in known if sign * (value - level) >= 0]
    missed = [
        f"{sign * (level - value):.2g} short of {name} {level:g}" for name, level in known if sign * (value - level) < 0
    ]
    parts = [f"reaches {', '.join(reached)}"] if reached else []
    return "; ".join([*parts, ", ".join(missed)] if missed else parts) or None
