"""A worker that allows neither functions nor commands searches boosting and forests, and prunes."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.client import Client, study_file
from service.contract.study import StudyState
from service.contract.trial import TrialState
from tests.e2e.test_preflight import SECONDS, worker_for
from tests.support.service import ROOT, Service

pytestmark = pytest.mark.prove


@pytest.mark.timeout(SECONDS)
def test_the_example_runs_on_any_worker(
    shared_service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = study_file.load(ROOT / "examples" / "boosting.yaml")
    assert spec.task is not None
    assert spec.task.estimator is not None
    # The worker reads below its own folder.
    monkeypatch.chdir(ROOT)
    spec = spec.model_copy(update={"budget": spec.budget.model_copy(update={"trials": 8})})
    with Client(shared_service.url) as client:
        client.create_study(spec)
        with worker_for(shared_service, tmp_path, spec.name) as worker:
            assert worker.wait(SECONDS) == 0
        study = client.study(spec.name)
        assert study.state is StudyState.COMPLETED
        assert study.num_trials.get(TrialState.FAILED, 0) == 0
        assert study.reference_summary == "reaches baseline 79"
        best = client.best(spec.name)
        assert "test/rmse" in best.metrics
        [rmse] = [series for series in best.series if series.metric == "val/rmse"]
        assert rmse.steps[:2] == [10, 20]
        assert client.predictions(spec.name, str(best.number))
