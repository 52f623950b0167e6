"""A dirty CSV file from `study init` to the last trial, and what the log says about its columns."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from service.cli.main import main
from service.client import Client, study_file
from service.contract.study import StudyState
from service.contract.trial import TrialState
from tests.support.forked_commands import TRAINING
from tests.support.service import ROOT, Service

pytestmark = pytest.mark.prove


def dirty(path: Path) -> None:
    """Houses as a Korean office might list them: cp949, semicolons, decimal commas, units and gaps."""
    chance = random.Random(0)
    rows = []
    for row in range(120):
        area, age = chance.uniform(30, 200), chance.randrange(60)
        price = f"{20_000 * area - 3_000 * age:,.2f}".translate(str.maketrans(",.", ".,"))
        rows.append(f"{area:.1f} m;{age if row % 9 else '?'};{('서울', '부산')[row % 2]};{price}")
    path.write_text("\n".join(["area;age;도시;price", *rows]), encoding="cp949")


def test_a_dirty_file_is_searched_to_the_end(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    dirty(tmp_path / "houses.csv")
    monkeypatch.chdir(tmp_path)
    assert main(["init", "houses.csv", "--target", "price", "--name", "houses"]) == 0
    columns = capsys.readouterr().out.partition("Columns:")[2]
    said = [line.strip() for line in columns.splitlines() if line.startswith("  ")]
    assert said[0].startswith("area: numbers from ")
    assert said[0].endswith("; without the unit 'm'")
    assert said[3].startswith("price: target; numbers from ")
    text = (tmp_path / "houses.yaml").read_text(encoding="utf-8")
    small = text.replace("budget: {trials: 30}", "budget: {trials: 3}").replace("epochs: 20", "epochs: 3")
    (tmp_path / "houses.yaml").write_text(small, encoding="utf-8")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["--server", service.url, "create", "../houses.yaml"]) == 0
    command = [sys.executable, "-m", "worker", "--cpu", "--threads", "1", "--server", service.url]
    command += ["--state-dir", str(tmp_path / "state"), "--data", str(tmp_path)]
    with (tmp_path / "worker.log").open("wb") as log:
        worker = TRAINING.popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        with Client(service.url) as client:
            for _ in client.stream("houses"):
                pass
            study = client.study("houses")
            assert study.state is StudyState.COMPLETED, (tmp_path / "worker.log").read_text()
            assert study.num_trials.get(TrialState.FAILED, 0) == 0
            assert main(["--server", service.url, "logs", "houses", "0"]) == 0
        logged = [line.removeprefix("data: ") for line in capsys.readouterr().out.splitlines() if "data: " in line]
        assert logged == said, "what init said is what the training does"
    finally:
        worker.terminate()
        worker.wait(30)
    assert study_file.load(tmp_path / "houses.yaml").budget.trials == 3
