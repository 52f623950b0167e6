"""A metric that a worker registers is the objective of a search: real service on SQLite, real worker, real training."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from service.client import Client
from service.client.errors import Invalid
from service.contract.study import StudyState
from tests.support.forked_commands import TRAINING
from tests.support.service import ROOT, Service
from tests.worker.waiting import eventually

pytestmark = pytest.mark.prove

MODULE = '''
from torchmetrics import MeanMetric, Metric

from worker.training.components.metrics import METRICS
from worker.training.data import Dataset


class ErrorRate(MeanMetric):
    def update(self, classes, targets):
        super().update((classes != targets).float())


def error_rate(_: Dataset) -> Metric:
    """Share of the examples with a wrong class."""
    return ErrorRate()


METRICS.add(error_rate, kinds=["classification"], direction="minimize", takes="classes")
'''
STUDY = {
    "name": "own-metric",
    "objective": {"metric": "val/error_rate", "direction": "minimize", "value": "best"},
    "task": {
        "train": {
            "data": {"name": "digits", "limit": 300},
            "model": {"name": "linear"},
            "loss": {"name": "cross_entropy"},
            "optimizer": {"name": "adamw"},
            "metrics": ["error_rate"],
            "epochs": 3,
        }
    },
    "preflight": "off",
    "space": {"optimizer.lr": {"type": "categorical", "choices": [1e-6, 1e-2]}},
    "sampler": "grid",
    "budget": {"trials": 2},
}


def test_a_registered_metric_is_the_objective_of_a_search(shared_service: Service, tmp_path: Path) -> None:
    (tmp_path / "own_metric.py").write_text(MODULE)
    command = [sys.executable, "-m", "worker", "--cpu", "--threads", "1", "--register", "own_metric"]
    command += ["--server", shared_service.url, "--state-dir", str(tmp_path / "state")]
    with Client(shared_service.url) as client:
        with pytest.raises(Invalid, match="error_rate"):
            client.create_study(STUDY)
        with (tmp_path / "log").open("wb") as log:
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            worker = TRAINING.popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
        try:
            assert eventually(lambda: client.catalogue().custom, 60.0), (tmp_path / "log").read_text()
            client.create_study(STUDY)
            for _ in client.stream("own-metric"):
                pass
        finally:
            worker.terminate()
            assert worker.wait(30) == 0, (tmp_path / "log").read_text()
        study, best = client.study("own-metric"), client.best("own-metric")
        curves = [
            {series.metric: list(series.values) for series in client.trial("own-metric", number).series}
            for number in range(2)
        ]
    assert study.state is StudyState.COMPLETED
    for curve in curves:
        wrong = [1 - float(accuracy) for accuracy in curve["val/accuracy"]]
        assert curve["val/error_rate"] == pytest.approx(wrong, abs=1e-6)
    assert best.parameters == {"optimizer.lr": 1e-2}
    assert best.values == [min(float(value) for value in curves[best.number or 0]["val/error_rate"])]
    assert best.metrics["test/error_rate"] == pytest.approx(1 - float(best.metrics["test/accuracy"]), abs=1e-6)
