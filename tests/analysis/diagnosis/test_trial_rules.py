"""Each rule of one trial finds the shape that it is about, with figures and remedies, and is silent beside it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from service.analysis.diagnosis.trial import diagnose_trial
from service.contract.attempt import FailureClass
from service.contract.finding import RemedyName
from service.contract.trial import TrialState
from tests.analysis.diagnosis.trials import facts, rules_of

NOISE = np.random.default_rng(0).normal(size=40)
STEPS = np.arange(1, 31)
FALLS = 0.1 + 2.2 * np.exp(-STEPS / 4)
"""A healthy loss from the level of ten classes to a tenth."""
CONFIG: dict[str, Any] = {
    "data": {"name": "digits"},
    "loss": {"name": "cross_entropy"},
    "optimizer": {"name": "adamw", "lr": 1e-3},
    "schedule": {"name": "constant"},
    "epochs": 30,
}


def pair(train: Any, val: Any = None) -> dict[str, list[float]]:
    return {"train/loss": list(train), "val/loss": list(train if val is None else val)}


def test_a_training_that_settles_as_it_ends_has_no_finding():
    assert rules_of(pair(0.1 + 2.2 * np.exp(-STEPS / 7)), config=CONFIG) == []


def test_a_loss_that_is_not_finite_names_the_figures_before_it():
    curve = [0.9, 0.5, 0.31, 2.5, 12.9, math.nan, math.nan]
    [found] = diagnose_trial(facts(pair(curve), state=TrialState.FAILED, failure=FailureClass.DIVERGED))
    assert found.rule == "diverged"
    assert found.sentence == "train/loss is not a finite number from step 6 on."
    assert [(each.name, each.step) for each in found.evidence] == [
        ("train/loss", 3),
        ("train/loss", 5),
        ("train/loss", 6),
    ]
    assert found.remedies[0].name is RemedyName.LOWER_RATE
    assert found.remedies[0].settings == {"factor": 0.1}
    assert found.trial == 7


def test_a_trial_that_failed_as_diverged_says_from_where_it_rose():
    curve = pair([0.9, 0.5, 0.4, 0.31, 1.5, 12.9])
    [found] = diagnose_trial(facts(curve, state=TrialState.FAILED, failure=FailureClass.DIVERGED))
    assert "train/loss rose from 0.31 at step 4 to 12.9 at step 6" in found.sentence


def test_a_trial_that_diverged_before_its_first_report_is_found_too():
    assert rules_of({}, state=TrialState.FAILED, failure=FailureClass.DIVERGED) == ["diverged"]


SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "exploding": (pair([1.0, 0.6, 0.5, 0.45, 2.0, 9.0, 40.0, 90.0]), {}),
    "rate_too_high": (pair([2.0, 1.1, 0.6, 0.5, 2.2, 2.3, 2.3, 2.31, 2.3, 2.3, 2.3]), {}),
    "oscillating": (pair(FALLS + 0.3 * NOISE[:30]), {"config": CONFIG}),
    "plateau": (pair(FALLS + 0.06 * NOISE[:30]), {"config": CONFIG}),
    "rate_too_low": (pair(2.3 - 0.02 * STEPS), {"config": CONFIG}),
    "still_improving": (pair(0.1 + 2.2 * np.exp(-STEPS / 15)), {"config": CONFIG}),
    "saturated_early": (pair(0.1 + 2.2 * np.exp(-STEPS / 2)), {"config": CONFIG}),
    "flat_then_drop": (pair([2.3] * 10 + list(0.1 + 2.2 * np.exp(-STEPS[:20] / 5))), {"config": CONFIG}),
    "stalled": (pair(2.303 + 0.002 * NOISE[:20]), {"config": CONFIG}),
    "bad_initialization": (pair(30 * np.exp(-STEPS / 3) + 0.1), {"config": CONFIG}),
    "overfitting": (pair(FALLS, FALLS + 0.02 * np.maximum(0, STEPS - 8)), {"config": CONFIG}),
    "high_variance": (pair(FALLS, FALLS + 0.9 * (1 - np.exp(-STEPS / 5))), {"config": CONFIG}),
    "underfitting": (pair(1.5 + 0.8 * np.exp(-STEPS / 3)), {"config": CONFIG}),
    "noisy_labels": (pair(2.3 * np.exp(-STEPS / 10), 2.31 + 0.05 * STEPS), {"config": CONFIG}),
    "best_step_early": ({"val/loss": [1.0, 1.1, *(1.3 + 0.01 * STEPS[:28])]}, {}),
    "vanishing_gradients": ({**pair([2.3] * 12), "norm/gradient_ratio": [1e-6] * 12}, {"config": CONFIG}),
    "exploding_gradients": ({**pair(FALLS), "norm/gradient": [1e6] * 30}, {"config": CONFIG}),
    "dead_units": ({**pair([2.3] * 12), "norm/dead_units": [0.8] * 12}, {"config": CONFIG}),
    "decayed_too_early": (
        pair(1.5 + 0.8 * np.exp(-STEPS * 3)),
        {"config": CONFIG | {"schedule": {"name": "multi_step", "drops": [0.1], "factor": 0.01}}},
    ),
}
"""Rule -> curves of its shape, with the facts that it needs."""


MORE_SHAPES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("rate_too_high", {**pair([2.2] * 12), "norm/update_ratio": [0.9] * 12}, {"config": CONFIG}),
    ("rate_too_high", pair(2.6 + 0.1 * NOISE[:20]), {"config": CONFIG}),
    ("stalled", {**pair(0.0 * STEPS + 1.7), "norm/update_ratio": [1e-9] * 30}, {"config": CONFIG}),
    ("underfitting", pair(0.9 + 0.8 * np.exp(-STEPS / 3)), {"config": CONFIG | {"model": {"dropout": 0.95}}}),
    ("underfitting", pair(0.9 + 0.8 * np.exp(-STEPS / 3)), {"config": CONFIG | {"model": {"hidden": [64, 1]}}}),
    ("underfitting", pair(0.9 + 0.8 * np.exp(-STEPS / 3)), {"config": CONFIG | {"l1": 0.1}}),
    ("overfitting", pair(2.2 * np.exp(-STEPS / 2), 0.6 + 1.6 * np.exp(-STEPS / 2)), {"config": CONFIG}),
]
"""Further shapes of some rules."""


@pytest.mark.parametrize(("rule", "curves", "settings"), MORE_SHAPES)
def test_further_shapes_of_a_rule(rule: str, curves: dict[str, Any], settings: dict[str, Any]):
    assert rules_of(curves, **settings)[:1] == [rule]


def test_a_rule_is_named_once():
    limited = CONFIG | {"model": {"hidden": [64, 1]}}
    assert rules_of(pair(1.5 + 0.8 * np.exp(-STEPS / 3)), config=limited) == ["underfitting"]


def test_dead_units_of_a_training_that_learned_are_no_finding():
    curves = {**pair(0.1 + 2.2 * np.exp(-STEPS / 7)), "norm/dead_units": [0.8] * 30, "norm/gradient_ratio": [1e-9] * 30}
    assert rules_of(curves, config=CONFIG) == []


@pytest.mark.parametrize("rule", SHAPES)
def test_the_first_finding_is_the_rule_whose_shape_it_is(rule: str):
    curves, settings = SHAPES[rule]
    found = diagnose_trial(facts(curves, **settings))
    assert found, "no finding"
    assert found[0].rule == rule
    assert found[0].evidence
    assert found[0].remedies
    assert found[0].sentence.endswith(".")


def test_the_remedies_tell_what_to_change():
    [found] = diagnose_trial(facts(pair(0.1 + 2.2 * np.exp(-STEPS / 15)), config=CONFIG))
    assert (found.remedies[0].name, found.remedies[0].settings) == (
        RemedyName.TRAIN_LONGER,
        {"factor": 2.0, "epochs": 60},
    )


def test_a_running_trial_is_not_judged_by_its_end():
    curves = pair(0.1 + 2.2 * np.exp(-STEPS[:15] / 15))
    assert rules_of(curves, config=CONFIG, state=TrialState.RUNNING, last_step=30) == []
    assert rules_of(curves, config=CONFIG, state=TrialState.PRUNED, last_step=30) == []


def test_few_points_say_nothing():
    for num in range(4):
        assert rules_of(pair([2.3, 2.2, 2.1, 2.0][:num]), config=CONFIG) == []


def test_restarts_of_the_rate_are_no_oscillation():
    wave = FALLS + 0.5 * np.abs(np.sin(STEPS))
    cyclic = CONFIG | {"schedule": {"name": "cosine", "cycles": 6}}
    assert "oscillating" in rules_of(pair(wave), config=CONFIG)
    assert "oscillating" not in rules_of(pair(wave), config=cyclic)


def test_a_training_loss_above_validation_is_no_finding():
    # With mixup, dropout or label smoothing other frameworks report a higher training loss.
    assert rules_of(pair(0.5 + 2.2 * np.exp(-STEPS / 7), 0.1 + 2.2 * np.exp(-STEPS / 7)), config=CONFIG) == []


def test_fine_tuning_does_not_begin_at_chance():
    curves = pair([0.21] * 15)
    assert rules_of(curves, config=CONFIG | {"finetune": {"name": "head"}}) == []


def test_the_names_of_other_frameworks_are_read():
    for train, val in (("train_loss", "val_loss"), ("loss", "val_loss"), ("training/loss", "validation/loss")):
        curves = {train: list(FALLS), val: list(FALLS + 0.05 * np.maximum(0, STEPS - 8))}
        assert rules_of(curves, objective=val) == ["overfitting"]


def test_a_metric_to_maximise_is_read_where_there_is_no_loss():
    accuracy = 1 - FALLS / 2.4
    curves = {"train/accuracy": list(accuracy), "val/accuracy": list(accuracy - 0.02 * np.maximum(0, STEPS - 8))}
    assert rules_of(curves, objective="val/accuracy", direction="maximize") == ["overfitting"]
