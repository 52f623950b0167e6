"""The preflight of an estimator: it is executed as functions are, and its conditional parameters are honoured."""

from __future__ import annotations

import pytest

from service.client.spec import parse
from worker.trial.preflight import preflight_study

pytestmark = pytest.mark.prove


def test_an_estimator_passes_whichever_model_its_parameters_choose() -> None:
    spec = parse(
        {
            "name": "checked",
            "objective": {"metric": "val/cross_entropy", "direction": "minimize"},
            "task": {"estimator": {"data": {"name": "wine"}, "model": {"name": "hist_boosting"}}},
            "space": {
                "model.name": {"type": "categorical", "choices": ["hist_boosting", "random_forest"]},
                "model.learning_rate": {
                    "type": "float", "low": 0.01, "high": 0.3, "log": True, "when": {"model.name": "hist_boosting"},
                },
                "model.min_samples_split": {
                    "type": "int", "low": 2, "high": 20, "when": {"model.name": "random_forest"},
                },
            },
        }
    )  # fmt: skip
    result = preflight_study(spec, seconds=60)
    found = {check.name: (check.status, check.sentence) for check in result.checks}
    assert found["parameters"] == ("passed", "Each of the 3 searched parameters has an effect.")
    assert found.pop("resumes")[0] == "not_run"
    assert {status for status, _ in found.values()} == {"passed"}
