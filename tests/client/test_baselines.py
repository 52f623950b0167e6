"""The pages of a study show its baselines beside the best value, and what it means to be worse than a linear model."""

from __future__ import annotations

import secrets
from typing import Any

from service.contract.attempt import FinishRequest, Outcome
from service.contract.base import TaskKind
from service.contract.capabilities import Capabilities
from service.contract.claim import ClaimRequest, Grant
from service.contract.preflight import Baseline, Check, CheckStatus, PreflightResult
from service.contract.report import Point, ReportRequest
from tests.client.conftest import Study
from tests.client.test_preflight import TRAIN

CHECK = Check(number=1, name="one_step", status=CheckStatus.PASSED, sentence="One step runs.")
BASELINES = [
    Baseline(name="linear", model="logistic regression, C = 1", metrics={"val/accuracy": 0.9666}, seconds=0.1),
    Baseline(name="hist_boosting", metrics={"val/accuracy": 0.9694}, note="fitted on 10 of 20 training examples"),
    Baseline(name="random_forest", note="not fitted: the 10 s of all baselines were over"),
]


def claim(study: Study, name: str) -> Grant:
    capabilities = Capabilities(tasks=[TaskKind.TRAIN])
    request = ClaimRequest(request_id=secrets.token_hex(8), worker="w", capabilities=capabilities, studies=[name])
    grant = study.client.claim(request)
    assert isinstance(grant, Grant)
    return grant


def finish(study: Study, grant: Grant, **outcome: Any) -> None:
    request = FinishRequest(nonce=grant.nonce, outcome=Outcome(result="succeeded", **outcome))
    study.client.finish(grant.trial, grant.attempt, request)


def test_a_study_shows_its_baselines_and_that_its_best_value_is_worse_than_a_linear_model(study: Study) -> None:
    name = study.create(**TRAIN | {"requires": None, "budget": {"trials": 1}, "reference": {"official": 0.98}})
    result = PreflightResult(checks=[CHECK], seconds=1.0, baselines=BASELINES)
    finish(study, claim(study, name), preflight=result)
    assert "compare val/accuracy with official 0.98, linear 0.9666, hist boosting 0.9694" in study("show", name)
    shown = [" ".join(line.split()) for line in study("preflight", name).splitlines()]
    assert "linear 0.9666 logistic regression, C = 1" in shown
    assert "random_forest not fitted: the 10 s of all baselines were over" in shown

    grant = claim(study, name)
    report = ReportRequest(nonce=grant.nonce, sequence=1, points=[Point(step=1, metrics={"val/accuracy": 0.91})])
    study.client.report(grant.trial, grant.attempt, report)
    finish(study, grant)
    compared = "0.07 short of official 0.98, 0.057 short of linear 0.9666, 0.059 short of hist boosting 0.9694"
    finding = "The best val/accuracy so far, 0.91, is worse than the 0.9666 of a linear model on the same data"
    assert "below_linear" in study("diagnose", name, "--wait")
    for words in (("show", name), ("watch", name), ("best", name)):
        told = " ".join(study(*words).split())
        assert f"val/accuracy 0.91 (trial 0): {compared}" in told, words
        assert finding in told
        assert f"(study preflight {name}). Train longer." in told
    view = study.json("show", name)
    assert [each["name"] for each in view["references"]] == ["official", "linear", "hist_boosting"]
    assert view["references"][2]["note"] == "fitted on 10 of 20 training examples"
    assert view["findings"][0]["rule"] == "below_linear"
    assert study.json("best", name)["number"] == 0


def test_a_study_without_baselines_shows_none(study: Study) -> None:
    name = study.create(reference=None)
    study.finish(name)
    assert "finding" not in study("show", name)
    assert "compare" not in study("show", name)
    assert study.json("show", name)["references"] == []
