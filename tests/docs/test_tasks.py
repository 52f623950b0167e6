"""docs/tasks.md: a real worker executes its examples as written."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.client import Client, study_file
from service.contract.study import StudyState
from service.contract.trial import TrialState
from tests.docs.generated import DOCS
from tests.support.forked_commands import TRAINING
from tests.support.service import ROOT, Service
from tests.worker.waiting import eventually
from worker.trial import Trial

pytestmark = pytest.mark.prove

PAGE = (DOCS / "tasks.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```(?:python|yaml)\n# (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
"""The examples by the file names in their first lines."""
STUDIES = [name for name in FILES if name.endswith(".yaml")]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all files of the page."""
    folder = tmp_path_factory.mktemp("project")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def client(shared_service: Service, project: Path) -> Iterator[Client]:
    """A client of a service for which one worker works in that folder."""
    command = [sys.executable, "-m", "worker", "--cpu", "--threads", "1", "--allow-functions", "--allow-commands"]
    command += ["--register", "my_models", "--server", shared_service.url, "--state-dir", str(project / "state")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (project / "worker.log").open("wb") as log:
        worker = TRAINING.popen(command, cwd=project, env=environment, stdout=log, stderr=log)
    try:
        with Client(shared_service.url) as opened:
            assert eventually(lambda: opened.catalogue().custom, 60.0), (project / "worker.log").read_text()
            yield opened
    finally:
        worker.terminate()
        assert worker.wait(30) == 0, (project / "worker.log").read_text()


@pytest.mark.parametrize("name", STUDIES)
def test_an_example_is_carried_out(client: Client, project: Path, name: str) -> None:
    study = client.create_study(study_file.load(project / name))
    for _ in client.stream(study.name):
        pass
    study = client.study(study.name)
    assert study.state is StudyState.COMPLETED
    assert study.num_trials.get(TrialState.COMPLETED, 0) > 0
    assert study.num_trials.get(TrialState.FAILED, 0) == 0
    assert not [trial for trial in client.trials(study.name).trials if trial.infeasible]
    assert study.notice is None, "what pauses is promoted from its checkpoints"


def test_every_member_of_the_trial_is_documented() -> None:
    told = {name for row in re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE) for name in re.findall(r"`(\w+)", row)}
    members = {name for name in vars(Trial) if not name.startswith("_")} | {"step"}
    assert told == members - {"poll", "send_report"}
