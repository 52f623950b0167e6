"""A user's own training code on real workers: crashes, stops, and workers that refuse it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from service.client import Client
from service.contract.base import TaskKind
from service.contract.claim import ClaimRequest, Grant, NoTrial
from service.contract.study import StudyState
from service.contract.trial import AttemptState, TrialState
from tests.support.event_files import curves
from tests.support.forked_commands import TRAINING, forked_zygotes
from tests.support.processes import children
from tests.support.service import ROOT, Service
from tests.worker.waiting import eventually
from worker.agent import AcceptedWork, Agent, ProcessSettings, SlotPlan, StorageSettings, cpu

pytestmark = pytest.mark.prove

SECONDS = 60.0

CODE = """
import pathlib, time
from worker.trial import Trial, current_trial

def train(trial: Trial) -> None:
    saved = trial.load_checkpoint()
    value, resumed_at = float(saved.read_text()) if saved else 0.0, trial.step or 0
    for step in range(resumed_at + 1, 100_000):
        value += 1.0
        trial.report(step, {'loss': value, 'resumed at': resumed_at})
        trial.save_checkpoint(str(value).encode())
        if trial.should_stop:
            return
        time.sleep(0.05)

if __name__ == '__main__':
    trial = current_trial()
    assert trial is not None
    train(trial)
"""

ODD = """
def fails(trial):
    raise ValueError("\\ud800\\x00 is odd")
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "endless.py").write_text(CODE)
    (folder / "odd.py").write_text(ODD)
    return folder


@pytest.fixture(scope="module")
def client(shared_service: Service) -> Iterator[Client]:
    with Client(shared_service.url) as opened:
        yield opened


class Workers:
    """Starts workers in the project's folder, and ends what still works."""

    def __init__(self, server: str, project: Path, state: Path) -> None:
        self._command = [sys.executable, "-m", "worker", "--cpu", "--threads", "1", "--server", server]
        self._command += ["--state-dir", str(state)]
        self._project = project
        self._started: list[subprocess.Popen[str]] = []

    def start(self, study: str, *flags: str) -> subprocess.Popen[str]:
        command = [*self._command, "--study", study, "--until-done", *flags]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = TRAINING.popen(command, cwd=self._project, env=environment, stderr=subprocess.PIPE, text=True)
        self._started.append(process)
        return process

    def end(self) -> None:
        for process in self._started:
            process.kill()
            process.communicate()


@pytest.fixture
def workers(shared_service: Service, project: Path, tmp_path: Path) -> Iterator[Workers]:
    started = Workers(shared_service.url, project, tmp_path)
    yield started
    started.end()


TASKS: dict[str, dict[str, Any]] = {
    "functions": {"function": "endless:train"},
    "commands": {"command": ["python", "endless.py", "{parameters}"]},
}


def study(client: Client, name: str, task: dict[str, Any]) -> None:
    client.create_study(
        {
            "name": name,
            "objective": {"metric": "loss", "direction": "minimize"},
            "task": task,
            "space": {"x": {"type": "float", "low": 0, "high": 1}},
            "sampler": "random",
            "budget": {"trials": 1},
        }
    )


def values(client: Client, name: str, metric: str = "loss") -> list[Any]:
    if not client.trials(name).trials:
        return []
    return [value for series in client.trial(name, 0).series if series.metric == metric for value in series.values]


@pytest.mark.parametrize("kind", TASKS)
def test_a_function_resumes_after_a_crash_and_ends_at_its_next_report_after_a_stop(
    client: Client, workers: Workers, kind: str, tmp_path: Path
) -> None:
    name = f"endless-{kind}"
    study(client, name, TASKS[kind])
    worker = workers.start(name, f"--allow-{kind}", f"--tensorboard={tmp_path / 'shown'}")
    assert eventually(lambda: len(values(client, name)) > 5, SECONDS)

    [zygote] = children(worker.pid)
    [child] = children(zygote)
    os.kill(child, signal.SIGKILL)
    assert eventually(lambda: values(client, name, "resumed at")[-1] > 0, SECONDS)
    told = values(client, name)
    assert told == [float(step) for step in range(1, len(told) + 1)], "as if nothing had been"

    client.stop(name)
    assert worker.wait(SECONDS) == 0
    assert client.study(name).state is StudyState.STOPPED
    trial = client.trial(name, 0)
    assert trial.state is TrialState.CANCELLED
    assert trial.attempts[1].state in {AttemptState.PRUNED, AttemptState.CANCELLED}

    first, second = (
        curves(tmp_path / "shown" / name / "trial-0000" / f"attempt-{number}")["loss"] for number in (1, 2)
    )
    resumed_at = values(client, name, "resumed at")[-1]
    assert first == [(step, float(step)) for step in range(1, len(first) + 1)]
    assert second == [(step, float(step)) for step in range(int(resumed_at) + 1, len(values(client, name)) + 1)]


class Generous(Client):
    """A client through which a worker is granted what it did not offer to execute."""

    def claim(self, request: ClaimRequest) -> Grant | NoTrial:
        offered = request.capabilities.model_copy(update={"tasks": list(TaskKind), "functions": None})
        return super().claim(request.model_copy(update={"capabilities": offered}))


@pytest.mark.parametrize(
    ("kind", "allows", "message"),
    [
        (
            "functions",
            {"tasks": [TaskKind.FUNCTION], "functions": ["other"]},
            "this worker does not execute functions of endless; start one with --allow-functions endless",
        ),
        ("commands", {}, "this worker does not execute commands; start one with --allow-commands"),
    ],
)
def test_a_worker_executes_nothing_that_it_does_not_allow_even_if_it_is_granted(
    client: Client, tmp_path: Path, kind: str, allows: dict[str, Any], message: str
) -> None:
    name = f"granted-{kind}"
    study(client, name, TASKS[kind])
    with forked_zygotes(), Generous(client.server) as generous, ThreadPoolExecutor(1) as pool:
        agent = Agent(
            generous,
            name=name,
            slots=[SlotPlan("cpu", [cpu()], 1)],
            work=AcceptedWork([name], until_done=True, **allows),
            processes=ProcessSettings(checkpoint_seconds=60.0),
            storage=StorageSettings(tmp_path, disk_bytes=0),
        )
        done = pool.submit(agent.work)
        try:
            assert eventually(lambda: client.trials(name).trials and client.trial(name, 0).attempts[0].message, SECONDS)
        finally:
            agent.stop()
        done.result(SECONDS)
    assert client.trial(name, 0).attempts[0].message == message
    assert values(client, name) == []


@pytest.mark.parametrize("kind", TASKS)
def test_a_worker_that_does_not_allow_it_gets_no_such_trial_and_says_which_flag_does(
    client: Client, workers: Workers, kind: str
) -> None:
    name = f"refused-{kind}"
    study(client, name, TASKS[kind])
    worker = workers.start(name)
    assert worker.stderr is not None
    lines = iter(worker.stderr.readline, "")
    assert any(f"its task is a {kind[:-1]}; start a worker with --allow-{kind}" in line for line in lines)
    assert client.study(name).num_trials == {}
    client.stop(name)
    assert worker.wait(SECONDS) == 0


def test_a_trial_whose_exception_no_database_could_store_ends_as_what_it_is(client: Client, workers: Workers) -> None:
    study(client, "odd-text", {"function": "odd:fails"})
    worker = workers.start("odd-text", "--allow-functions")
    assert worker.wait(SECONDS) == 0
    trial = client.trial("odd-text", 0)
    assert trial.state is TrialState.FAILED
    [attempt] = trial.attempts
    assert attempt.message == "ValueError: \ufffd\ufffd is odd"
    assert attempt.traceback is not None
    assert attempt.traceback.endswith("ValueError: \ufffd\ufffd is odd\n")
