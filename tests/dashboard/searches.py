"""Studies for the pages: real trials of a small function, run through the Python client."""

from __future__ import annotations

import math
import uuid
from typing import Any

from service.client import Client
from service.client.open_trial import OpenTrial
from service.contract.attempt import FailureClass, FinishRequest, Outcome
from service.contract.base import TaskKind
from service.contract.capabilities import Capabilities
from service.contract.claim import ClaimRequest, Grant
from service.contract.predictions import Confusion
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


def classify(client: Client, study: str, confusion: Confusion) -> None:
    """Take a trial to its end whose model takes classes for others."""
    offered = Capabilities(tasks=[TaskKind.EXTERNAL])
    grant = client.claim(ClaimRequest(request_id=uuid.uuid4().hex, worker="w", studies=[study], capabilities=offered))
    assert isinstance(grant, Grant)
    points = [Point(step=1, metrics={"val/accuracy": 0.9})]
    client.report(grant.trial, grant.attempt, ReportRequest(nonce=grant.nonce, sequence=1, points=points))
    outcome = Outcome(result="succeeded", confusion=confusion)
    client.finish(grant.trial, grant.attempt, FinishRequest(nonce=grant.nonce, outcome=outcome))
