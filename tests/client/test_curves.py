"""`study curves`: the curves are scikit-learn's, no threshold is better than the chosen one, and the page says it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from service.cli.curves.decisions import Costs, Criterion, Decisions, binary_curves, choose_threshold, decide
from tests.client.conftest import Study
from tests.client.predicted import predicted

DRAW = np.random.default_rng(0)
LABELS = DRAW.random(500) < 0.2
SCORES = np.clip(0.3 * LABELS + DRAW.random(500).round(2) * 0.7, 0, 1)

# Few different scores, so that there are ties, with 0 and 1 among them; both labels occur.
examples = st.lists(
    st.tuples(st.sampled_from([0.0, 0.25, 0.5, 0.500001, 0.9, 1.0]), st.booleans()), min_size=2, max_size=30
).filter(lambda pairs: 0 < sum(label for _, label in pairs) < len(pairs))

COSTS = Costs(false_positive=1.0, false_negative=7.0)
VALUES: dict[Criterion, Callable[[Decisions], float]] = {
    "f1": lambda decisions: decisions.f1,
    "balanced_accuracy": lambda decisions: decisions.balanced_accuracy,
    "cost": lambda decisions: -decisions.cost(COSTS),
}


def test_the_curves_are_scikit_learns() -> None:
    curves = binary_curves(SCORES, LABELS)
    rates, recalls, scores = reference.roc_curve(LABELS, SCORES, drop_intermediate=False)
    np.testing.assert_allclose(curves.false_positive_rate, rates)
    np.testing.assert_allclose(curves.recall, recalls)
    np.testing.assert_allclose(curves.scores, scores)
    precisions, recalls, scores = reference.precision_recall_curve(LABELS, SCORES)
    np.testing.assert_allclose(curves.precision[::-1], precisions)
    np.testing.assert_allclose(curves.recall[::-1], recalls)
    assert curves.auroc == pytest.approx(reference.roc_auc_score(LABELS, SCORES))
    assert curves.average_precision == pytest.approx(reference.average_precision_score(LABELS, SCORES))


def test_the_decisions_are_scikit_learns() -> None:
    decisions, decided = decide(SCORES, LABELS, 0.4), SCORES >= 0.4
    counts = reference.confusion_matrix(LABELS, decided)
    assert [decisions.true_negatives, decisions.false_positives] == counts[0].tolist()
    assert [decisions.false_negatives, decisions.true_positives] == counts[1].tolist()
    assert decisions.precision == pytest.approx(reference.precision_score(LABELS, decided))
    assert decisions.recall == pytest.approx(reference.recall_score(LABELS, decided))
    assert decisions.f1 == pytest.approx(reference.f1_score(LABELS, decided))
    assert decisions.balanced_accuracy == pytest.approx(reference.balanced_accuracy_score(LABELS, decided))
    assert decisions.cost(COSTS) == pytest.approx((counts[0][1] + 7 * counts[1][0]) / 500)


@given(examples)
def test_no_threshold_is_better_than_the_chosen_one(pairs: list[tuple[float, bool]]) -> None:
    scores, labels = zip(*pairs, strict=True)
    curves = binary_curves(scores, labels)
    possible = [*scores, 1.5, 0.0]
    for criterion, value in VALUES.items():
        chosen = value(decide(scores, labels, choose_threshold(curves, criterion, COSTS)))
        assert chosen == pytest.approx(max(value(decide(scores, labels, each)) for each in possible)), criterion


def test_a_costly_false_negative_lowers_the_threshold_and_ties_stay_near_a_half() -> None:
    curves = binary_curves(SCORES, LABELS)
    equal, costly = (choose_threshold(curves, "cost", Costs(1.0, cost)) for cost in (1.0, 20.0))
    assert costly < equal
    separable = binary_curves([0.1, 0.2, 0.9, 0.95], [False, False, True, True])
    assert choose_threshold(separable, "f1") == pytest.approx(0.55)
    tied = binary_curves([0.9, 0.8, 0.4, 0.2], [True, False, True, False])  # one mistake at 0.85, one at 0.3
    assert choose_threshold(tied, "cost") == pytest.approx(0.3)


@pytest.mark.parametrize(("scores", "labels"), [([0.1, 0.2], [True, True]), ([0.1, 0.2], [False, False])])
def test_one_class_alone_has_no_curve(scores: list[float], labels: list[bool]) -> None:
    with pytest.raises(ValueError, match="both positive and negative examples are needed"):
        binary_curves(scores, labels)


def binary_table() -> dict[str, Any]:
    half = len(LABELS) // 2
    return {
        "split": ["val"] * half + ["test"] * half,
        "id": list(range(len(LABELS))),
        "target": np.where(LABELS, "sick", "well").tolist(),
        "prediction": np.where(SCORES > 0.5, "sick", "well").tolist(),
        "p/sick": pyarrow.array(SCORES, pyarrow.float32()),
        "p/well": pyarrow.array(1 - SCORES, pyarrow.float32()),
    }


def test_the_threshold_is_chosen_on_val_and_measured_on_test(study: Study) -> None:
    name, half = predicted(study, binary_table()), len(LABELS) // 2
    report = study.json("curves", name)
    scores = SCORES.astype(np.float32)
    assert (report["positive"], report["criterion"]) == ("sick", "f1")
    assert report["threshold"] == choose_threshold(binary_curves(scores[:half], LABELS[:half]), "f1")
    decided = scores >= report["threshold"]
    for split, part in (("val", slice(0, half)), ("test", slice(half, None))):
        told = report["splits"][split]
        assert told["chosen"]["f1"] == pytest.approx(reference.f1_score(LABELS[part], decided[part]))
        assert told["auroc"] == pytest.approx(reference.roc_auc_score(LABELS[part], scores[part]))
        assert told["default"]["threshold"] == 0.5
        assert told["points"][0] == {"threshold": None, "recall": 0.0, "false_positive_rate": 0.0, "precision": 1.0}
    assert report["splits"]["val"]["chosen"]["f1"] > report["splits"]["val"]["default"]["f1"]
    costly = study.json("curves", name, "0", "--choose", "cost", "--cost-false-negative", "20")
    assert costly["threshold"] < report["threshold"]
    other = study.json("curves", name, "0", "--positive", "well")
    assert other["splits"]["val"]["auroc"] == pytest.approx(report["splits"]["val"]["auroc"])
    page = study("curves", name)
    assert page.startswith("trial 0: 'sick' is positive; val: AUROC 0.")
    assert f"A threshold of {report['threshold']:.4g} on its probability gives val the largest F1." in page
    assert len(page.splitlines()) < 40


def test_predictions_without_a_threshold_are_refused(study: Study) -> None:
    table = binary_table()
    name = predicted(study, table)
    told = study("curves", name, "--positive", "sik", status=1)
    assert told == "--positive: there is no class 'sik'; did you mean 'sick'?\n"
    several = predicted(study, table | {"p/dead": [0.0] * len(LABELS)})
    assert "has 3 classes; name the positive one by --positive CLASS" in study("curves", several, status=1)
    healthy = predicted(study, table | {"target": ["well"] * len(LABELS)})
    told = study("curves", healthy, status=1)
    assert "val gives no threshold for 'sick': both positive and negative examples are needed" in told
    numbers = predicted(study, {name: table[name] for name in ("split", "id", "target", "prediction")})
    assert "has no probabilities of classes" in study("curves", numbers, status=1)
    test_only = predicted(study, table | {"split": ["test"] * len(LABELS)})
    assert "has no predictions on val, on which a threshold is chosen" in study(
        "curves", test_only, "--positive", "sick", status=1
    )
