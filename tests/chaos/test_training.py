"""The training stub in the worker's own zygote: its values follow from the seed, however often it is interrupted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from service.contract.claim import ResumePoint
from tests.chaos.ledger import Trained, read
from tests.chaos.training import CHECKPOINT_STEPS, METRIC, NUM_STEPS, values
from tests.worker.grants import grant
from worker.agent import cpu
from worker.agent.slots import process
from worker.agent.slots.process import Zygote
from worker.protocol import CheckpointSaved, Ended, Exited, Report, Start


@pytest.fixture
def zygote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(process, "ZYGOTE", "tests.chaos.zygote")
    environment = {**os.environ, "CHAOS_LEDGER": str(tmp_path / "ledger")}
    with Zygote([cpu()], 1, tmp_path / "zygote.log", environment, pass_env=["CHAOS_LEDGER"]) as zygote_process:
        zygote_process.wait_ready()
        yield zygote_process


def start(folder: Path, resume: CheckpointSaved | None = None) -> Start:
    folder.mkdir()
    point = resume and ResumePoint(step=resume.step, sha256=resume.sha256, size=resume.size, uri="")
    told = grant(run_until=NUM_STEPS, resume=point).model_dump(mode="json")
    out, err = str(folder / "out"), str(folder / "err")
    return Start(told, "cpu", 1, out, err, str(folder), 0.0, resume=resume and resume.path)


@pytest.mark.prove
def test_a_training_that_resumes_measures_what_one_without_a_fault_does(zygote: Zygote, tmp_path: Path) -> None:
    expected = values(grant().seed, grant().parameters)
    whole = list(zygote.fork(start(tmp_path / "whole")).messages())
    assert {said.step: said.metrics[METRIC] for said in whole if isinstance(said, Report)} == expected
    assert isinstance(whole[-2], Ended)
    assert whole[-1] == Exited(0)
    saved = [said for said in whole if isinstance(said, CheckpointSaved)]
    assert [said.step for said in saved] == list(range(CHECKPOINT_STEPS, NUM_STEPS, CHECKPOINT_STEPS))
    rest = list(zygote.fork(start(tmp_path / "rest", resume=saved[0])).messages())
    resumed = {said.step: said.metrics[METRIC] for said in rest if isinstance(said, Report)}
    assert resumed == {step: value for step, value in expected.items() if step > saved[0].step}
    noted = [fact.step for fact in read([tmp_path / "ledger"]) if isinstance(fact, Trained)]
    assert noted == [*expected, *resumed]


@pytest.mark.prove
def test_a_training_that_resumes_from_another_checkpoint_measures_something_else(
    zygote: Zygote, tmp_path: Path
) -> None:
    whole = list(zygote.fork(start(tmp_path / "whole")).messages())
    first = next(said for said in whole if isinstance(said, CheckpointSaved))
    Path(first.path).write_text(f'[{first.step}, "{"0" * 64}"]', encoding="ascii")
    rest = list(zygote.fork(start(tmp_path / "rest", resume=first)).messages())
    expected = values(grant().seed, grant().parameters)
    resumed = {said.step: said.metrics[METRIC] for said in rest if isinstance(said, Report)}
    assert all(expected[step] != value for step, value in resumed.items())
