"""TensorBoard files for every kind of task; errors of theirs fail no training."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service.contract.attempt import Outcome
from service.contract.base import TaskKind
from service.contract.claim import Grant, Monitor
from tests.support.event_files import curves, parameters
from tests.support.forked_commands import forked_zygotes
from tests.support.service import ROOT
from tests.worker.grants import grant, start_of
from tests.worker.waiting import eventually
from worker.agent.devices import cpu
from worker.agent.slots.process import Zygote
from worker.protocol import Ended, Report, Start
from worker.trial import tensorboard
from worker.trial.channel import Channel
from worker.trial.tensorboard import event_folder

LOSSES = {"metric": "loss", "direction": "minimize", "keep": "last"}

CODE = """
import os, pathlib, signal, sys
from worker.trial import current_trial

def descends(trial):
    for step in range((trial.step or 0) + 1, 4):
        trial.report(step, {'loss': 1 / step})
    return {'extra': 7}

def waits(trial):
    trial.report(1, {'loss': 0.5})
    signal.pause()

if __name__ == '__main__':
    descends(current_trial())
"""


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("code")
    (folder / "mine.py").write_text(CODE)
    return folder


@pytest.fixture(scope="module")
def zygote(code: Path) -> Iterator[Zygote]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(code), str(ROOT), *sys.path])}
    with forked_zygotes(), Zygote([cpu()], 1, code / "zygote.log", environment) as process:
        process.wait_ready()
        yield process


def own(kind: TaskKind, task: dict[str, Any], **changes: Any) -> Grant:
    return grant(nonce="", task_kind=kind, task=task, monitor=Monitor.model_validate(LOSSES), **changes)


def function(name: str = "descends", **changes: Any) -> Grant:
    return own(TaskKind.FUNCTION, {"name": f"mine:{name}"}, **changes)


def shown(granted: Grant, folder: Path) -> Start:
    return replace(start_of(granted, folder), tensorboard=str(folder / "shown"))


def carried_out(zygote: Zygote, start: Start) -> tuple[list[Report], Outcome]:
    messages = list(zygote.fork(start).messages())
    [ended] = [message for message in messages if isinstance(message, Ended)]
    return [message for message in messages if isinstance(message, Report)], Outcome.model_validate(ended.outcome)


def by_training(code: Path) -> Grant:
    return grant(parameters={"optimizer.lr": 1e-3, "model.hidden": [16], "optimizer.name": "adamw"})


def by_a_function(code: Path) -> Grant:
    return function(number=7, attempt=2)


def by_a_command(code: Path) -> Grant:
    return own(TaskKind.COMMAND, {"argv": [sys.executable, str(code / "mine.py")]}, attempt=3)


@pytest.mark.parametrize("task", [by_training, by_a_function, by_a_command])
def test_every_kind_of_task_is_shown_as_it_reported(
    task: Callable[[Path], Grant], zygote: Zygote, code: Path, tmp_path: Path
) -> None:
    granted = task(code)
    reports, outcome = carried_out(zygote, shown(granted, tmp_path))
    assert outcome.result == "succeeded"
    told = curves(event_folder(tmp_path / "shown", granted))
    for name in reports[0].metrics:
        assert told[name] == [(report.step, pytest.approx(report.metrics[name])) for report in reports]
    for name, value in outcome.metrics.items():
        assert told[f"final/{name}"] == [(reports[-1].step, pytest.approx(value))]
    assert parameters(event_folder(tmp_path / "shown", granted))["optimizer.lr"] == 1e-3


def test_an_attempt_has_a_folder_by_its_names() -> None:
    place = event_folder(Path("/shown"), grant(number=7, attempt=2))
    assert place == Path("/shown/digits-mlp/trial-0007/attempt-2")
    assert event_folder(Path("/shown"), grant(number=None)) == Path("/shown/digits-mlp/trial-t1/attempt-1")


def test_parameters_that_are_no_plain_values_are_written_as_text(zygote: Zygote, tmp_path: Path) -> None:
    values = {"hidden": [16, 8], "nesterov": True, "name": "sgd", "depth": 3}
    granted = function(parameters=values)
    carried_out(zygote, shown(granted, tmp_path))
    assert parameters(event_folder(tmp_path / "shown", granted)) == {**values, "hidden": "[16, 8]", "depth": 3.0}


def test_a_resumed_attempt_continues_at_its_step(zygote: Zygote, tmp_path: Path) -> None:
    (tmp_path / "resume.pt").write_bytes(b"")
    resume = {"step": 2, "sha256": "0" * 64, "size": 0, "uri": f"blob:{'0' * 64}"}
    granted = function(attempt=2, resume=resume)
    carried_out(zygote, replace(shown(granted, tmp_path), resume=str(tmp_path / "resume.pt")))
    assert curves(event_folder(tmp_path / "shown", granted))["loss"] == [(3, pytest.approx(1 / 3))]


def test_reports_of_a_killed_process_are_kept(zygote: Zygote, tmp_path: Path) -> None:
    granted = function("waits")
    child = zygote.fork(shown(granted, tmp_path))
    folder = event_folder(tmp_path / "shown", granted)
    assert eventually(lambda: folder.exists() and curves(folder).get("loss") == [(1, 0.5)], 20.0)
    child.terminate()
    list(child.messages())
    assert curves(folder)["loss"] == [(1, 0.5)]


def test_a_directory_that_cannot_be_written_fails_no_attempt(zygote: Zygote, tmp_path: Path) -> None:
    (tmp_path / "shown").write_text("a file in its place")
    reports, outcome = carried_out(zygote, shown(function(), tmp_path))
    assert (len(reports), outcome.result) == (3, "succeeded")
    assert "no more TensorBoard events of this attempt are written: " in (tmp_path / "err").read_text()


@pytest.mark.parametrize("error", [None, RuntimeError("mine")])
def test_the_files_are_closed_however_the_task_ends(error: Exception | None, tmp_path: Path) -> None:
    def ends(granted: Grant, start: Start, channel: Channel) -> Outcome:
        assert threading.active_count() == before + 1, "events are written by a thread"
        channel.on_report(1, {"loss": 0.5})
        if error is not None:
            raise error
        return Outcome(result="succeeded")

    before = threading.active_count()
    ours, theirs = socket.socketpair()
    with ours, theirs, nullcontext() if error is None else pytest.raises(RuntimeError, match="mine"):
        tensorboard.run_with_event_files(function(), shown(function(), tmp_path), Channel(ours), ends)
    assert threading.active_count() == before
    assert curves(event_folder(tmp_path / "shown", function()))["loss"] == [(1, 0.5)]


def test_without_a_directory_nothing_is_written(zygote: Zygote, tmp_path: Path) -> None:
    _, outcome = carried_out(zygote, start_of(function(), tmp_path))
    assert outcome.result == "succeeded"
    assert not list(tmp_path.rglob("*tfevents*"))
