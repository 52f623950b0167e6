"""A training on two devices in two processes: one attempt to the service."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

from service.contract.attempt import FailureClass, Outcome
from service.contract.report import Action
from tests.support.forked import in_processes
from tests.support.forked_commands import forked_zygotes
from tests.support.processes import children
from tests.worker.grants import digits, grant, start_of
from tests.worker.waiting import eventually
from worker.agent.devices import cpu
from worker.agent.slots.exit_outcomes import exit_outcome
from worker.agent.slots.process import Zygote
from worker.protocol import CheckpointSaved, Ended, Exited, Progress, Provenance, Report, Start
from worker.training import ProcessGroupError
from worker.training.distributed.group import SINGLE_PROCESS, process_group
from worker.trial import ranks
from worker.trial.ranks import RankFailed, launch

ENDLESS = 1_000_000


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    with forked_zygotes(), Zygote([cpu(), cpu()], 1, tmp_path_factory.mktemp("zygote") / "zygote.log") as process:
        process.wait_ready()
        yield process


def start(folder: Path, num_devices: int = 2, **changes: Any) -> Start:
    folder.mkdir(exist_ok=True)
    return replace(start_of(grant(nonce="", **changes), folder), num_devices=num_devices)


def test_a_trial_on_two_devices_says_what_it_does_on_one(zygote: Zygote, tmp_path: Path) -> None:
    changes = {"task": digits(epochs=9), "run_until": 3, "pauses": True}
    one, two = (
        # A slow machine takes long enough for an epoch to say inside it that it advances.
        [
            message
            for message in zygote.fork(start(tmp_path / str(num), num, **changes)).messages()
            if not isinstance(message, Progress)
        ]
        for num in (1, 2)
    )
    assert [type(message) for message in two] == [Provenance, Report, Report, Report, CheckpointSaved, Ended, Exited]
    assert [type(message) for message in one] == [type(message) for message in two]
    for alone, together in zip(one[1:4], two[1:4], strict=True):
        assert isinstance(alone, Report)
        assert isinstance(together, Report)
        assert together.metrics == pytest.approx(alone.metrics, rel=1e-4)


def test_an_order_to_stop_ends_all_of_its_processes(zygote: Zygote, tmp_path: Path) -> None:
    child = zygote.fork(start(tmp_path, task=digits(epochs=ENDLESS)))
    said = []
    for message in child.messages():
        if isinstance(message, Report) and not any(isinstance(each, Report) for each in said):
            assert child.pid is not None
            assert len(children(child.pid)) == 1
            child.order(Action.STOP, "because")
        said.append(message)
    [ended] = [message for message in said if isinstance(message, Ended)]
    assert Outcome.model_validate(ended.outcome).result == "pruned"
    assert said[-1] == Exited(0)
    assert child.pid is not None
    assert eventually(lambda: not _group(child.pid or 0))


@pytest.mark.parametrize("killed", ["first", "other"])
def test_one_that_is_killed_takes_the_attempt_along(zygote: Zygote, tmp_path: Path, killed: str) -> None:
    child = zygote.fork(start(tmp_path, task=digits(epochs=ENDLESS)))
    assert child.pid is not None
    other: int | None = None
    said = []
    for message in child.messages():
        said.append(message)
        if isinstance(message, Report) and other is None:
            [other] = children(child.pid)
            os.kill(child.pid if killed == "first" else other, signal.SIGKILL)
    assert not any(isinstance(message, Ended) for message in said)
    assert said[-1] == Exited(-signal.SIGKILL)
    assert exit_outcome(-signal.SIGKILL).failure is FailureClass.PROCESS_KILLED
    assert eventually(lambda: not _group(child.pid or 0))


def _group(pid: int) -> list[str]:
    """The processes of a group that have not ended."""
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group, *_ = place.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(group) == pid and state != "Z":
            found.append(place.parent.name)
    return found


def other_fails(first: str) -> str:
    """The work of a process of which the other one fails for want of memory, while the first waits for it or sleeps."""
    with process_group() as group:
        assert group is not SINGLE_PROCESS
        if not group.is_first:
            raise MemoryError("no more")
        if first == "sleeps":
            time.sleep(60)
        try:
            dist.barrier()
        except RuntimeError as error:
            raise ProcessGroupError("another process is gone") from error
        return "done"


@pytest.mark.parametrize("first", ["waits", "sleeps"])
def test_an_exception_in_another_process_is_the_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """Told by the first, where it hears of it, and for it, where it waits for something else."""
    monkeypatch.setattr(ranks, "_GRACE_SECONDS", 1.0)
    told = tmp_path / "told"

    def led(_: int) -> Outcome | str:
        try:
            return launch(2, tmp_path, lambda: other_fails(first), lambda outcome: _note(told, outcome))
        except RankFailed as error:
            return error.outcome

    [answer] = in_processes(1, tmp_path, led)
    outcome = answer if first == "waits" else Outcome.model_validate_json(told.read_text())
    assert outcome.failure is FailureClass.OUT_OF_MEMORY
    assert outcome.message == "MemoryError: no more"
    assert told.exists() == (first == "sleeps")


def _note(place: Path, outcome: Outcome) -> None:
    place.write_text(outcome.model_dump_json())
