"""Studies for the pages: real trials of a small function, run through the Python client."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from typing import Any

from service.client import Client
from service.client.open_trial import OpenTrial
from service.contract.attempt import FailureClass, FinishRequest, Outcome
from service.contract.base import TaskKind
from service.contract.capabilities import Capabilities
from service.contract.claim import ClaimRequest, Grant
from service.contract.predictions import Confusion
from service.contract.preflight import Baseline, Check, CheckStatus, Curve, LearningRateRange, PreflightResult
from service.contract.report import Point, ReportRequest
from service.contract.study import StudyView

STEPS = 8


def create(client: Client, name: str, *, trials: int = 40, **changes: Any) -> StudyView:
    """Create a study that its caller drives."""
    study = {
        "name": name,
        "format": 1,
        "objective": {"metric": "val/accuracy", "direction": "maximize", "value": "best"},
        "space": {
            "optimizer.name": {"type": "categorical", "choices": ["sgd", "adamw"]},
            "optimizer.lr": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
            "optimizer.momentum": {"type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer.name": "sgd"}},
            "model.hidden": {"type": "categorical", "choices": [[64], [128, 64]]},
        },
        "sampler": {"name": "random", "seed": 3},
        "pruner": {"name": "median", "startup_trials": 3, "warmup_steps": 1},
        "resource": {"name": "epoch", "max": STEPS},
        "budget": {"trials": trials},
        "reference": {"baseline": 0.1, "published": 0.98, "human": 0.99},
    }
    return client.create_study(study | changes)


def accuracy(trial: OpenTrial, step: int) -> float:
    """A learning curve whose end depends on the learning rate: best at 3e-3."""
    distance = abs(math.log10(float(trial.parameters["optimizer.lr"])) + 2.5)  # type: ignore[arg-type]
    return 0.985 * math.exp(-0.06 * distance**2) * (1 - math.exp(-(step + 1) / 2))


def drive(client: Client, study: str, num: int, *, steps: int = STEPS, fail_every: int | None = None) -> None:
    """Take `num` trials to their end; every `fail_every`-th fails, the first of them because it diverged."""
    for _ in range(num):
        trial = client.open_trial(study)
        assert trial is not None
        with trial:
            for step in range(1, steps + 1):
                if fail_every and trial.number is not None and trial.number % fail_every == fail_every - 1:
                    if trial.number < fail_every:
                        trial.fail("the loss is not a number", FailureClass.DIVERGED)
                    else:
                        trial.fail("ValueError: no such file", FailureClass.USER_EXCEPTION)
                    break
                trial.report(step, {"val/accuracy": accuracy(trial, step)})
                if trial.should_stop:
                    break
            else:
                trial.finish({"test/accuracy": 0.9, "seconds": 1.25, "loss": math.nan})


def classify(client: Client, study: str, confusion: Confusion, metrics: Mapping[str, float] | None = None) -> None:
    """Take a trial to its end whose model takes classes for others."""
    offered = Capabilities(tasks=[TaskKind.EXTERNAL])
    grant = client.claim(ClaimRequest(request_id=uuid.uuid4().hex, worker="w", studies=[study], capabilities=offered))
    assert isinstance(grant, Grant)
    points = [Point(step=1, metrics={"val/accuracy": 0.9})]
    client.report(grant.trial, grant.attempt, ReportRequest(nonce=grant.nonce, sequence=1, points=points))
    outcome = Outcome(result="succeeded", confusion=confusion, metrics=dict(metrics or {}))
    client.finish(grant.trial, grant.attempt, FinishRequest(nonce=grant.nonce, outcome=outcome))


def check_study(client: Client, study: str) -> None:
    """End the preflight of a study with a passed, a failed and a skipped check."""
    offered = Capabilities(tasks=[TaskKind.TRAIN])
    grant = client.claim(ClaimRequest(request_id=uuid.uuid4().hex, worker="w", studies=[study], capabilities=offered))
    assert isinstance(grant, Grant)
    rates = Curve(
        name="learning-rate range", x_label="learning rate", y_label="loss", log_x=True,
        x=[1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0], y=[2.0, 2.0, 2.0, 1.8, 0.5, 40.0, None],
    )  # fmt: skip
    checks = [
        Check(number=2, name="initial_loss", status=CheckStatus.FAILED, sentence="The loss is 9, 4 times chance.",
              remedy="Look at the last layer."),
        Check(number=4, name="learning_rate", status=CheckStatus.PASSED, sentence="The loss falls.", curves=[rates]),
        Check(number=9, name="parameters", status=CheckStatus.NOT_RUN, sentence="The time was over."),
    ]  # fmt: skip
    found = LearningRateRange(falls=1e-3, steepest=1e-2, explodes=1.0, proposed=1e-2)
    linear = Baseline(name="linear", model="logistic regression", metrics={"val/accuracy": 0.97})
    result = PreflightResult(checks=checks, seconds=3, learning_rate=found, baselines=[linear])
    outcome = Outcome(result="succeeded", preflight=result)
    client.finish(grant.trial, grant.attempt, FinishRequest(nonce=grant.nonce, outcome=outcome))
