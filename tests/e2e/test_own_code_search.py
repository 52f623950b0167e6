"""Searches over a user's own training code: a pruner stops trials, and ASHA promotes them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from service.client import Client
from service.contract.study import StudyState
from service.contract.trial import TrialDetail, TrialState
from tests.support.forked_commands import TRAINING
from tests.support.service import ROOT, Service

pytestmark = pytest.mark.prove

SECONDS = 120.0

WORSE = """
import time
from worker.trial import Trial, current_trial

def train(trial: Trial) -> None:
    for step in range(1, 1_000):
        trial.report(step, {'loss': step})
        if trial.should_stop:
            return
        time.sleep(0.05)

if __name__ == '__main__':
    train(current_trial())
"""
PRINTS = """
import time
for step in range(1, 1_000):
    print('loss is', step, flush=True)
    time.sleep(0.05)
"""
CLIMBS = """
from worker.trial import current_trial

trial = current_trial()
saved, resumed_at = trial.load_checkpoint(), trial.step or 0
total = float(saved.read_text()) if saved else 0.0
for step in range(resumed_at + 1, trial.run_until + 1):
    total += trial.parameters['x']
    trial.report(step, {'loss': total / step, 'resumed at': resumed_at})
    trial.save_checkpoint(str(total).encode())
"""
"""The loss is x at every step, unless a step or the state of the steps before is lost."""

STOPPED: dict[str, dict[str, Any]] = {
    "stopped-function": {"function": "worse:train"},
    "stopped-command": {"command": ["python", "worse.py"]},
    "stopped-printing": {"command": {"argv": ["python", "prints.py"], "metrics": {"loss": r"loss is (\S+)"}}},
}
RUNGS = {
    "resource": {"name": "step", "max": 2},
    "pruner": {"name": "asha", "min": 1, "eta": 2},
    "space": {"x": {"type": "categorical", "choices": [2, 1]}},
}


@pytest.fixture(scope="module")
def client(shared_service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a service whose studies one worker has carried out, and ended."""
    project = tmp_path_factory.mktemp("project")
    for name, code in (("worse", WORSE), ("prints", PRINTS), ("climbs", CLIMBS)):
        (project / f"{name}.py").write_text(code)
    common = {"objective": {"metric": "loss", "direction": "minimize"}, "sampler": "grid"}
    once = {"space": {"x": {"type": "categorical", "choices": [1]}}, "pruner": {"name": "threshold", "upper": 3}}
    studies = [{"name": name, "task": task} | once for name, task in STOPPED.items()]
    studies.append({"name": "climbing", "task": {"command": ["python", "climbs.py"]}} | RUNGS)
    with Client(shared_service.url) as opened:
        for study in studies:
            opened.create_study(study | common)
        flags = [
            "--allow-functions",
            "worse",
            "--allow-commands",
            "--until-done",
            "--state-dir",
            str(project / "state"),
        ]
        command = [sys.executable, "-m", "worker", "--cpu", "--threads", "1", "--server", opened.server, *flags]
        command += [word for study in studies for word in ("--study", str(study["name"]))]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        worked = TRAINING.run(
            command, cwd=project, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS
        )
        assert worked.returncode == 0, worked.stderr
        yield opened


def values(trial: TrialDetail, metric: str = "loss") -> list[Any]:
    return [value for series in trial.series if series.metric == metric for value in series.values]


@pytest.mark.parametrize("name", STOPPED)
def test_a_pruner_s_verdict_stops_it(client: Client, name: str) -> None:
    trial = client.trial(name, 0)
    assert trial.state is TrialState.PRUNED, trial.attempts[0]
    assert trial.state_reason is not None
    assert "3" in trial.state_reason
    verdict = next(each for each in trial.verdicts if each.action != "continue")
    assert verdict.action == "stop"
    assert 4 <= verdict.step <= len(values(trial)) < 999, "it was stopped, and did not come to its end"


def test_a_promoted_command_resumes_from_its_own_checkpoint(client: Client) -> None:
    assert client.study("climbing").state is StudyState.COMPLETED
    worse, best = client.trial("climbing", 0), client.trial("climbing", 1)
    assert (worse.state, values(worse)) == (TrialState.PRUNED, [2.0])
    assert (best.state, values(best)) == (TrialState.COMPLETED, [1.0, 1.0])
    assert [arrival.step for arrival in best.rung_results] == [1]
    assert (values(best, "resumed at"), len(best.attempts)) == ([0.0, 1.0], 2)
    assert client.study("climbing").notice is None, "it saved checkpoints, so trials paused"
