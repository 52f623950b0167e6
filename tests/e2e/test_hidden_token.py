"""Code that a worker executes cannot read the worker's token."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.client import Client
from service.contract.study import StudyState
from service.contract.trial import TrialState
from tests.support import spy
from tests.support.capabilities import WITHOUT_CAPABILITIES
from tests.support.service import ROOT, Service, running_service

pytestmark = pytest.mark.prove

TOKEN = spy.TOKEN.decode()
WORKER = [sys.executable, "-m", "worker"]
FLAGS = ["--cpu", "--threads", "1", "--allow-functions", "--until-done"]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service"), environment={"ASSAYER_TOKEN": TOKEN}) as service:
        yield service


@pytest.fixture
def project(guarded: Service, tmp_path: Path) -> Path:
    shutil.copy(spy.__file__, tmp_path / "spy.py")
    (tmp_path / "test").write_text(str(os.getpid()))
    (tmp_path / "others").write_text(str(guarded.pid))
    return tmp_path


def environment_of(project: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ASSAYER_")}
    return clean | {"HOME": str(project), "PYTHONPATH": str(ROOT), "ASSAYER_TOKEN": TOKEN, "HF_TOKEN": TOKEN}


TASKS: dict[str, dict[str, Any]] = {
    "function": {"function": "spy:search"},
    "command": {"command": {"argv": ["python", "spy.py"], "metrics": {"loss": "objective=(\\S+)"}}},
}


@pytest.mark.parametrize("start", [WORKER, [str(Path(sys.executable).parent / "worker")]])
def test_a_task_finds_the_token_nowhere(guarded: Service, project: Path, start: list[str]) -> None:
    names = {kind: f"spy-{kind}-{len(start)}" for kind in TASKS}
    with Client(guarded.url, TOKEN) as client:
        for kind, name in names.items():
            objective = {"metric": "loss", "direction": "minimize"}
            space = {"x": {"type": "int", "low": 1, "high": 2}}
            spec = {"name": name, "objective": objective, "task": TASKS[kind], "space": space}
            client.create_study(spec | {"budget": {"trials": 1}})
        studies = [word for name in names.values() for word in ("--study", name)]
        command = [*WITHOUT_CAPABILITIES, *start, *FLAGS, "--allow-commands", "--server", guarded.url, *studies]
        result = subprocess.run(
            [*command, "--state-dir", "state"],
            cwd=project,
            env=environment_of(project),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr
        for kind, name in names.items():
            [trial] = client.trials(name).trials
            assert trial.state is TrialState.COMPLETED, result.stderr
            assert client.study(name).state is StudyState.COMPLETED
            assert trial.values == [0.0]
            told = json.loads((project / f"found-{kind}.json").read_text())
            assert told["found"] == []
            # The spy can look: it sees the zygote and is refused the agent and the service.
            *_, zygote, agent = told["ancestors"]
            for pid in (agent, str(guarded.pid)):
                assert {f"/proc/{pid}/{file}" for file in ("environ", "mem", "fd")} <= set(told["refused"])
            assert not [place for place in told["refused"] if place.startswith(f"/proc/{zygote}/")]


def test_variables_that_are_asked_for_are_passed_on_and_the_token_never(guarded: Service, project: Path) -> None:
    (project / "tell.py").write_text(
        "import json, os, pathlib\n"
        "def tell(trial):\n    pathlib.Path('env.json').write_text(json.dumps(dict(os.environ)))\n    return 1.0\n"
    )
    variables = {"HF_TOKEN": "h", "WANDB_API_KEY": "w", "AWS_REGION": "eu", "AWS_SECRET_ACCESS_KEY": "s", "MINE": "m"}
    variables |= {"ASSAYER_DATABASE": "postgresql://me:secret@db/assayer", "OMP_PROC_BIND": "true", "LC_ALL": "C.UTF-8"}
    seen: dict[str, dict[str, str]] = {}
    with Client(guarded.url, TOKEN) as client:
        for name, flags in (("plain", []), ("asked", ["--pass-env", "HF_TOKEN", "--pass-env", "AWS_*"])):
            space = {"x": {"type": "int", "low": 1, "high": 2}}
            spec = {
                "name": name,
                "objective": {"metric": "loss", "direction": "minimize"},
                "task": {"function": "tell:tell"},
                "space": space,
            }
            client.create_study(spec | {"budget": {"trials": 1}})
            subprocess.run(
                [*WORKER, *FLAGS, *flags, "--server", guarded.url, "--study", name, "--state-dir", "state"],
                cwd=project,
                env=environment_of(project) | variables,
                check=True,
                timeout=120,
            )
            seen[name] = json.loads((project / "env.json").read_text())
    for environment in seen.values():
        assert not {"ASSAYER_TOKEN", "ASSAYER_DATABASE", "WANDB_API_KEY", "MINE"} & environment.keys()
        assert {"PATH", "HOME", "PYTHONPATH", "OMP_PROC_BIND", "LC_ALL"} <= environment.keys()
    assert not {"HF_TOKEN", "AWS_REGION", "AWS_SECRET_ACCESS_KEY"} & seen["plain"].keys()
    assert {"HF_TOKEN": "h", "AWS_REGION": "eu", "AWS_SECRET_ACCESS_KEY": "s"}.items() <= seen["asked"].items()


def test_the_service_s_secrets_are_not_in_its_environment_block(guarded: Service) -> None:
    block = Path(f"/proc/{guarded.pid}/environ").read_bytes()
    assert TOKEN.encode() not in block
    assert b"PATH=" in block
    with Client(guarded.url, TOKEN) as client:
        client.workers()
