"""A best value that is worse than the linear baseline is a finding with both values."""

from __future__ import annotations

from typing import Any

import pytest

from service.analysis.baseline_findings import baseline_findings
from service.contract.study import ReferenceValue


def references(linear: float, **more: Any) -> list[ReferenceValue]:
    best = ReferenceValue(name="random_forest", kind="baseline", value=0.99)
    return [best, ReferenceValue(name="linear", kind="baseline", value=linear, **more)]


@pytest.mark.parametrize(
    ("value", "linear", "direction", "is_found"),
    [
        (0.91, 0.96, "maximize", True),
        (0.96, 0.96, "maximize", False),
        (0.97, 0.96, "maximize", False),
        (2.0, 1.5, "minimize", True),
        (1.5, 1.5, "minimize", False),
        (1.0, 1.5, "minimize", False),
        (-0.1, 0.0, "maximize", True),
    ],
)
def test_only_a_value_worse_than_the_linear_one_is_found(
    value: float, linear: float, direction: Any, is_found: bool
) -> None:
    found = baseline_findings(value, "val/x", references(linear), direction, "mine")
    assert [each.rule for each in found] == (["below_linear"] if is_found else [])


def test_the_finding_names_both_values_and_what_to_do() -> None:
    [found] = baseline_findings(0.9139, "val/accuracy", references(0.96661), "maximize", "digits")
    assert "The best val/accuracy so far, 0.9139, is worse than the 0.9666 of a linear model" in found.sentence
    for remedy in ("study preflight digits", "Train longer", "wider range", "simpler model"):
        assert remedy in " ".join(each.sentence for each in found.remedies)


def test_what_limits_the_baseline_is_told() -> None:
    [found] = baseline_findings(0.5, "val/x", references(0.6, note="fitted on 10 of 20"), "maximize", "s")
    assert "0.6 of a linear model on the same data (fitted on 10 of 20):" in found.sentence


def test_without_a_linear_baseline_there_is_no_finding() -> None:
    given = [ReferenceValue(name="linear", kind="published", value=0.99)]
    assert baseline_findings(0.5, "val/x", given, "maximize", "s") == []
    assert baseline_findings(0.5, "val/x", [], "maximize", "s") == []
