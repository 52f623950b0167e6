"""What holds for the diagnosis of any trial: it never raises, and unit, sign and order change nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from service.analysis.diagnosis.trial import diagnose_trial
from service.contract.attempt import FailureClass
from service.contract.trial import TrialState
from tests.analysis.diagnosis.test_trial_rules import SHAPES
from tests.analysis.diagnosis.trials import facts, rules_of

NAMES = ["train/loss", "val/loss", "val/accuracy", "loss", "x", "norm/gradient", "norm/update_ratio",
         "norm/gradient_ratio", "norm/dead_units", "train/r2", "val/r2", "/", ""]  # fmt: skip
ANY_NUMBER = st.one_of(st.floats(), st.floats(0, 3), st.sampled_from([0.0, 1.0, math.nan, math.inf, 1e300, -1e300]))
CONFIGS = st.sampled_from(
    [
        {},
        {"schedule": {"name": "cosine", "cycles": "x"}, "optimizer": 3, "epochs": 10**9, "loss": {"name": "mse"}},
        {"schedule": {"name": "multi_step", "drops": None, "factor": 0}, "loss": {"name": "mse"}, "epochs": 0},
        {"schedule": {"name": ["step"]}, "data": {"name": "wine"}, "loss": {"name": "cross_entropy"}, "finetune": None},
        {"schedule": {"name": "exponential", "warmup": 0.5}, "epochs": 7, "model": {"name": "mlp"}},
    ]
)


@settings(max_examples=80, deadline=None)
@given(
    curves=st.dictionaries(st.sampled_from(NAMES), st.lists(ANY_NUMBER, max_size=90), max_size=6),
    config=CONFIGS,
    state=st.sampled_from(list(TrialState)),
    last_step=st.sampled_from([None, 0, 5, 10**6]),
    chance=st.dictionaries(st.sampled_from(NAMES), ANY_NUMBER, max_size=2),
    failure=st.sampled_from([None, FailureClass.DIVERGED]),
    direction=st.sampled_from(["minimize", "maximize"]),
)
def test_no_series_makes_it_raise_and_findings_can_be_stored(curves: Any, **others: Any):
    for found in diagnose_trial(facts(curves, **others)):
        assert type(found).model_validate_json(found.model_dump_json()).rule == found.rule


@settings(max_examples=20, deadline=None)
@given(rule=st.sampled_from(sorted(SHAPES)), factor=st.floats(1e-6, 1e6))
def test_the_unit_of_the_loss_does_not_matter(rule: str, factor: float):
    curves, others = SHAPES[rule]
    scaled = {name: _scaled(name, values, factor) for name, values in curves.items()}
    chance = math.log(10)
    config = {key: value for key, value in others.get("config", {}).items() if key not in ("data", "loss")}
    before = rules_of(curves, chance={"val/loss": chance}, config=config)
    assert before == rules_of(scaled, chance={"val/loss": chance * factor}, config=config)


@settings(max_examples=20, deadline=None)
@given(rule=st.sampled_from(sorted(SHAPES)), seed=st.integers(0, 100), constant=st.floats(-1e6, 1e6))
def test_order_and_constant_metrics_do_not_matter(rule: str, seed: int, constant: float):
    curves, others = SHAPES[rule]
    names = list(np.random.default_rng(seed).permutation(list(curves)))
    more = {name: curves[name] for name in names} | {"val/auroc": [constant] * 30, "train/auroc": [constant] * 30}
    assert rules_of(more, **others) == rules_of(curves, **others)


@settings(max_examples=20, deadline=None)
@given(rule=st.sampled_from(sorted(set(SHAPES) - {"decayed_too_early"})), shift=st.integers(1, 10**6))
def test_the_number_of_the_first_step_does_not_matter(rule: str, shift: int):
    curves, others = SHAPES[rule]
    others = {**others, "config": {}, "chance": {"val/loss": math.log(10)}}
    assert rules_of(curves, first_step=shift, **others) == rules_of(curves, **others)


@settings(max_examples=4, deadline=None)
@given(rule=st.sampled_from(["overfitting", "stalled", "rate_too_high", "exploding"]))
def test_a_score_to_maximise_is_a_loss_turned_over(rule: str):
    curves, _ = SHAPES[rule]
    turned = {name.replace("loss", "score"): [-value for value in values] for name, values in curves.items()}
    assert rules_of(turned, objective="val/score", direction="maximize") == rules_of(curves)


def _scaled(name: str, values: Any, factor: float) -> list[float]:
    return [value * factor for value in values] if name.endswith("loss") else list(values)
