"""The decomposition of the test error: its parts, intervals, sentence and remedies."""

from __future__ import annotations

from typing import Any

import pytest

from service.analysis.diagnosis.decomposition import decompose
from service.contract.decomposition import Decomposition, PartName
from tests.support.study_facts import facts_of, spec_of

HUMAN = {"human": 0.99}
SIZES = {"num_validation": 2_000, "num_test": 2_000, "num_train": 10_000}


def decomposed(values: dict[str, float], *, reference: Any = HUMAN, **more: Any) -> Decomposition | None:
    """Decompose the error of a study of one trial."""
    spec = spec_of(reference=reference, **more.pop("spec", {}))
    return decompose(facts_of(spec, [values["val"]], metrics={0: _named(values)}, **{**SIZES, **more}))


def _named(values: dict[str, float]) -> dict[str, float]:
    return {f"{split}/accuracy": value for split, value in values.items()}


def parts_of(found: Decomposition | None) -> dict[str, float]:
    assert found is not None
    return {part.name: pytest.approx(part.value, abs=1e-12) for part in found.parts}


def test_the_parts_are_the_steps_from_people_to_the_test_and_add_up_to_the_test_error() -> None:
    found = decomposed({"train": 0.97, "val": 0.91, "test": 0.90})
    assert parts_of(found) == {"irreducible": 0.01, "bias": 0.02, "variance": 0.06, "validation_overfitting": 0.01}
    assert found is not None
    assert sum(part.value for part in found.parts) == pytest.approx(found.error) == pytest.approx(0.10)
    assert found.largest is PartName.VARIANCE
    assert [each.name for each in found.remedies] == [
        "more_data",
        "augment",
        "more_regularization",
        "normalize",
        "other_model",
    ]
    assert "The test error of trial 0 (accuracy) is 10.0 %: 1.0 % irreducible (human), 2.0 % bias" in found.sentence
    assert "Variance is the largest part that can be reduced (" in found.sentence


def test_test_val_sets_shift_apart() -> None:
    values = {"train": 0.97, "val": 0.95, "test_val": 0.85, "test": 0.84}
    found = decomposed(values, num_test_val=2_000)
    expected = {"irreducible": 0.01, "bias": 0.02, "variance": 0.02, "shift": 0.10, "validation_overfitting": 0.01}
    assert parts_of(found) == expected
    assert found is not None
    assert found.largest is PartName.SHIFT


def test_the_luck_of_the_best_of_many_trials_is_no_shift() -> None:
    # Twelve trials with a shift of 0.05; the best one is better on val by luck alone.
    val = [0.900 + 0.001 * at for at in range(11)] + [0.94]
    rows = [{"train": 0.99, "val": each, "test_val": each - 0.05, "test": each - 0.05} for each in val]
    rows[-1] |= {"test_val": 0.86, "test": 0.86}
    metrics = {number: _named(row) for number, row in enumerate(rows)}
    facts = facts_of(spec_of(reference=HUMAN), val, metrics=metrics, num_test_val=2_000, **SIZES)
    found = parts_of(decompose(facts))
    assert (found["shift"], found["validation_overfitting"]) == (0.05, 0.03)


def test_a_part_that_may_be_zero_is_not_called_the_largest() -> None:
    found = decomposed({"train": 0.99, "val": 0.985, "test": 0.983}, num_validation=100, num_test=100)
    assert found is not None
    assert (found.largest, found.remedies) == (None, [])
    assert "No part is certain to be above 0." in found.sentence


def test_a_measurement_on_all_training_examples_is_exact() -> None:
    found = decomposed({"train": 0.9, "val": 0.9, "test": 0.9}, num_train=200)
    assert found is not None
    bias = found.parts[1]
    assert bias.low == bias.value == bias.high == pytest.approx(0.09)


@pytest.mark.parametrize(
    ("metric", "reference", "values", "expected"),
    [
        ("rmse", {"human": 1.0}, (1.5, 2.5, 2.75), (1.0, 0.5, 1.0, 0.25)),
        ("cross_entropy", {"human": 0.1}, (0.2, 0.5, 0.6), (0.1, 0.1, 0.3, 0.1)),
    ],
)
def test_a_loss_is_an_error_itself(metric: str, reference: Any, values: Any, expected: Any) -> None:
    named = dict(zip((f"{split}/{metric}" for split in ("train", "val", "test")), values, strict=True))
    spec = spec_of(metric=f"val/{metric}", direction="minimize", reference=reference)
    found = decompose(facts_of(spec, [values[1]], metrics={0: named}, **SIZES))
    assert found is not None
    assert [part.value for part in found.parts] == pytest.approx(expected)
    assert not found.is_share


def test_the_target_stands_in_for_people() -> None:
    spec = {"budget": {"trials": 5, "target": 0.95}}
    found = decomposed({"train": 0.97, "val": 0.91, "test": 0.90}, reference=None, spec=spec)
    assert found is not None
    assert (found.level, found.parts[0].value) == ("target", pytest.approx(0.05))


@pytest.mark.parametrize(
    "change",
    [
        {"reference": None},
        {"reference": {"published": 0.99}},
        {"num_test": None},
        {"num_validation": None},
        {"values": {"train": 0.97, "val": 0.91}},
        {"values": {"val": 0.91, "test": 0.9}},
        {"values": {"train": 0.97, "val": 0.91, "test": float("nan")}},
        {"spec": {"metric": "val/mcc"}},
        {"spec": {"metric": "accuracy"}},
        {"spec": {"metric": "train/accuracy"}},
    ],
)
def test_without_a_level_or_a_measurement_there_is_no_decomposition(change: dict[str, Any]) -> None:
    values = change.pop("values", {"train": 0.97, "val": 0.91, "test": 0.90})
    assert decomposed(values, **change) is None


def test_a_study_of_several_objectives_has_no_decomposition() -> None:
    objectives = [
        {"metric": "val/accuracy", "direction": "maximize"},
        {"metric": "num_parameters", "direction": "minimize"},
    ]
    assert decompose(facts_of(spec_of(objective=objectives), [])) is None
