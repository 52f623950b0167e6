"""A granted preflight sends the results of its checks and its baselines in one outcome, as JSON can hold them."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.client.spec import parse
from service.contract.attempt import Outcome
from service.contract.claim import Grant, PreflightOrder
from tests.worker.grants import grant, start_of
from worker.trial.foreground import Foreground
from worker.trial.preflight import granted


def ordered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Outcome:
    spec = parse(
        {
            "name": "checked",
            "objective": {"metric": "val/accuracy", "direction": "maximize"},
            "task": {
                "train": {
                    "data": {"name": "wine"},
                    "model": {"name": "linear"},
                    "loss": {"name": "cross_entropy"},
                    "optimizer": {"name": "sgd"},
                }
            },
            "space": {"optimizer.lr": {"type": "float", "low": 1e-3, "high": 0.1, "log": True}},
        }
    )
    order = PreflightOrder(spec=spec)
    given: Grant = grant(parameters={"optimizer.lr": 0.01}, preflight=order)
    # The time for the checks is over at once; the baselines have a time limit of their own.
    monkeypatch.setattr(granted, "_LEAST_SECONDS", 1.0)
    start = start_of(given, tmp_path)
    return granted.run(given, order, start, Foreground(lambda _step, _metrics: None, None, polls_each_step=False))


def test_the_outcome_has_the_baselines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    outcome = Outcome.model_validate_json(ordered(monkeypatch, tmp_path).model_dump_json())
    assert outcome.result == "succeeded"
    assert outcome.preflight is not None
    found = {each.name: each for each in outcome.preflight.baselines}
    assert list(found) == ["majority", "linear", "hist_boosting", "random_forest"]
    assert (found["linear"].metrics["val/accuracy"] or 0) > 0.9
    assert found["linear"].model == "logistic regression, C = 1"


def test_baselines_that_cannot_be_built_do_not_cost_the_checks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no threads left")

    monkeypatch.setattr("worker.training.preflight.runner.run_baselines", broken)
    outcome = ordered(monkeypatch, tmp_path)
    assert outcome.preflight is not None
    assert outcome.preflight.checks[0].status == "passed"
    assert [each.note for each in outcome.preflight.baselines] == ["failed: no threads left"] * 4
