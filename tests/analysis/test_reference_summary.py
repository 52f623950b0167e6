"""Describes a value relative to the study's reference values."""

from __future__ import annotations

from typing import Any

import pytest

from service.analysis.reference_summary import reference_summary
from service.contract.study import Reference


@pytest.mark.parametrize(
    ("value", "direction", "reference", "said"),
    [
        (0.98, "maximize", {}, None),
        (0.75, "maximize", {"baseline": 0.5}, "reaches baseline 0.5"),
        (0.25, "maximize", {"published": 0.5}, "0.25 short of published 0.5"),
        (3.5, "minimize", {"human": 4.0}, "reaches human 4"),
        (4.5, "minimize", {"human": 4.0}, "0.5 short of human 4"),
        (0.5, "maximize", {"baseline": 0.5}, "reaches baseline 0.5"),
        (0.0, "minimize", {"baseline": 0.0}, "reaches baseline 0"),
        (
            0.5,
            "maximize",
            {"human": 0.99, "published": 0.5, "baseline": 0.1},
            "reaches baseline 0.1, published 0.5; 0.49 short of human 0.99",
        ),
    ],
)
def test_a_value_beside_its_references(value: float, direction: Any, reference: dict[str, float], said: str) -> None:
    assert reference_summary(value, Reference(**reference), direction) == said
