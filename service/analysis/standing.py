"""How a value stands against what is known of the problem: a plain baseline, the published best, people."""

from __future__ import annotations

from service.contract.base import Direction
from service.contract.study import Reference


def standing(value: float, reference: Reference, direction: Direction) -> str | None:
    """Say in words how `value` compares with each known reference.

    Returns None where no reference is known. Example: "0.88 above the baseline 0.1, 0.002 below published 0.98".
    """
    said = []
    for name, known in (
        ("the baseline", reference.baseline),
        ("published", reference.published),
        ("human", reference.human),
    ):
        if known is None:
            continue
        gap = value - known
        if gap == 0:
            said.append(f"equal to {name} {known:g}")
            continue
        where = "above" if gap > 0 else "below"
        better = (gap > 0) == (direction == "maximize")
        said.append(f"{abs(gap):.3g} {where} {name} {known:g} ({'better' if better else 'worse'})")
    return ", ".join(said) or None
