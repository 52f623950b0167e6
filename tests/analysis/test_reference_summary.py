"""Orders the references of a study, and describes a value relative to them."""

from __future__ import annotations

from typing import Any

import pytest

from service.analysis.reference_summary import ordered_references, reference_summary
from service.contract.study import Reference, ReferenceValue


def measured(**values: float) -> list[ReferenceValue]:
    return [ReferenceValue(name=name, kind="baseline", value=value) for name, value in values.items()]


def test_references_are_ordered_from_an_official_implementation_to_simple_baselines() -> None:
    reference = Reference(baseline=0.1, human=0.99, published=0.98, official=0.97)
    found = ordered_references(reference, measured(majority=0.1, linear=0.96))
    assert [(each.name, each.kind, each.value) for each in found] == [
        ("official", "official", 0.97),
        ("published", "published", 0.98),
        ("human", "human", 0.99),
        ("baseline", "baseline", 0.1),
        ("majority", "baseline", 0.1),
        ("linear", "baseline", 0.96),
    ]
    assert ordered_references(None, []) == []
    assert ordered_references(Reference(human=0.0), [])[0].value == 0.0


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
            "reaches published 0.5, baseline 0.1; 0.49 short of human 0.99",
        ),
    ],
)
def test_a_value_beside_its_references(value: float, direction: Any, reference: dict[str, float], said: str) -> None:
    assert reference_summary(value, ordered_references(Reference(**reference), []), direction) == said


def test_a_baseline_whose_fit_was_ended_early_says_so() -> None:
    note = "not completed: 4 of 100 iterations at its time limit of 4.7 s; fitted on 10000 of 24000 training examples"
    partial = ReferenceValue(name="hist_boosting", kind="baseline", value=0.21, note=note)
    sampled = ReferenceValue(name="linear", kind="baseline", value=0.69, note="fitted on 10 of 20 training examples")
    said = reference_summary(0.5, [sampled, partial], "maximize")
    assert said == "reaches hist boosting 0.21 (not completed); 0.19 short of linear 0.69"


def test_measured_baselines_are_compared_after_the_given_ones() -> None:
    references = ordered_references(Reference(human=0.99), measured(majority=0.1003, hist_boosting=0.96944))
    said = reference_summary(0.5, references, "maximize")
    assert said == "reaches majority 0.1003; 0.49 short of human 0.99, 0.47 short of hist boosting 0.9694"
