"""Real zygotes and training processes: reports, orders, every way to exit, and what a child can read."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from service.contract.attempt import FailureClass, Outcome
from service.contract.base import TaskKind
from service.contract.report import Action
from tests.support.forked_commands import forked_zygotes
from tests.worker.grants import digits, grant, start_of, table
from tests.worker.waiting import eventually
from worker.agent.devices import LocalDevice, cpu
from worker.agent.slots.process import Child, ChildMessage, Zygote, ZygoteFailed
from worker.protocol import CheckpointSaved, Ended, Exited, PredictionsSaved, Progress, Provenance, Report, Start
from worker.training.checkpoints.checkpoint import load_checkpoint
from worker.training.components.metrics import confusion_matrix
from worker.training.predictions_file import read

ENDLESS = 1_000_000


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    with forked_zygotes():  # only this one: a test below looks at one that is executed
        process = Zygote([cpu()], 1, tmp_path_factory.mktemp("zygote") / "zygote.log")
    with process:
        process.wait_ready()
        yield process


@pytest.fixture
def start(tmp_path: Path) -> Any:
    def of(**changes: Any) -> Start:
        return start_of(grant(nonce="", **changes), tmp_path)

    return of


def outcome_of(messages: list[ChildMessage | Exited]) -> Outcome:
    [ended] = [message for message in messages if isinstance(message, Ended)]
    return Outcome.model_validate(ended.outcome)


def test_a_trial_reports_each_epoch_then_its_outcome_then_exits(zygote: Zygote, start: Any) -> None:
    messages = list(zygote.fork(start()).messages())
    assert [message.step for message in messages if isinstance(message, Report)] == [1, 2]
    assert isinstance(messages[0], Provenance)
    assert messages[0].environment["threads"] == "1"
    assert "val/accuracy" in messages[1].metrics  # type: ignore[union-attr]
    assert outcome_of(messages).result == "succeeded"
    assert "seconds" in outcome_of(messages).metrics
    assert messages[-1] == Exited(0)


def test_it_ends_for_good_at_the_step_the_grant_names(zygote: Zygote, start: Any) -> None:
    data = {"name": "digits", "val_fraction": 0.2, "test_fraction": 0.2, "seed": 0}
    messages = list(zygote.fork(start(task=digits(epochs=9, data=data), run_until=3)).messages())
    assert [message.step for message in messages if isinstance(message, Report)] == [1, 2, 3]
    assert outcome_of(messages).result == "succeeded"
    assert "test/accuracy" in outcome_of(messages).metrics


def test_a_finished_training_stores_predictions_and_a_confusion_matrix(zygote: Zygote, start: Any) -> None:
    *_, saved, _, _ = messages = list(zygote.fork(start(task=digits(epochs=1))).messages())
    assert isinstance(saved, PredictionsSaved)
    content = Path(saved.path).read_bytes()
    assert (saved.sha256, saved.size) == (hashlib.sha256(content).hexdigest(), len(content))
    found, class_names = read(Path(saved.path))
    confusion = outcome_of(messages).confusion
    assert confusion is not None
    assert tuple(confusion.classes) == class_names == tuple("0123456789")
    assert confusion.splits == {name: confusion_matrix(each.outputs, each.targets) for name, each in found.items()}
    assert found.keys() == {"val", "test"}


def test_at_a_rung_it_saves_a_checkpoint_and_says_that_it_pauses(zygote: Zygote, start: Any) -> None:
    messages = list(zygote.fork(start(task=digits(epochs=9), run_until=3, pauses=True)).messages())
    assert [message.step for message in messages if isinstance(message, CheckpointSaved)] == [3]
    assert outcome_of(messages).result == "paused"
    assert outcome_of(messages).message == "trained to step 3, its rung"


@pytest.mark.parametrize(("action", "result"), [(Action.STOP, "pruned"), (Action.PAUSE, "paused")])
def test_it_obeys_an_order_at_its_next_step(zygote: Zygote, start: Any, action: Action, result: str) -> None:
    child = zygote.fork(start(task=digits(epochs=ENDLESS)))
    messages = []
    for message in child.messages():
        if not messages:
            child.order(action, "because")
        messages.append(message)
    assert outcome_of(messages).result == result
    assert outcome_of(messages).message == "because"


@pytest.mark.parametrize(
    ("changes", "failure", "said"),
    [
        ({"task": digits(optimizer={"name": "adamv"})}, FailureClass.INVALID, "did you mean"),
        ({"constraints": {"parameters": {"max": 10}}}, FailureClass.INFEASIBLE, "10"),
        ({"fork_at": 3}, FailureClass.INVALID, "the checkpoint of step 3, from which this trial forks"),
        ({"task_kind": TaskKind.EXTERNAL, "task": None}, FailureClass.INVALID, "of the service executes its trials"),
        (
            {"task": digits(optimizer={"name": "sgd", "lr": 1e30}, loss={"name": "cross_entropy"}, epochs=3)},
            FailureClass.DIVERGED,
            "finite",
        ),
    ],
)
def test_a_task_that_cannot_be_says_why(
    zygote: Zygote, start: Any, changes: dict[str, Any], failure: FailureClass, said: str
) -> None:
    outcome = outcome_of(list(zygote.fork(start(**changes)).messages()))
    assert outcome.failure is failure
    assert said in outcome.message


def test_it_pauses_in_the_middle_of_an_epoch_once_it_has_saved_where_it_stands(
    zygote: Zygote, start: Any, tmp_path: Path
) -> None:
    task = digits(data=table(tmp_path / "data.csv", 60_000), batch_size=1)  # on no machine it comes to the epoch's end
    child = zygote.fork(replace(start(task=task), checkpoint_seconds=0.0))
    messages = []
    for message in child.messages():
        if isinstance(message, CheckpointSaved) and not messages:
            child.order(Action.PAUSE, "because")
        if not isinstance(message, Provenance | Progress):
            messages.append(message)
    *saved, ended, _ = messages  # an order that comes before the next step finds its place saved already
    assert saved
    assert all(isinstance(each, CheckpointSaved) and each.step == 0 < each.batch for each in saved)
    assert isinstance(ended, Ended)
    assert (ended.outcome["result"], ended.outcome["message"]) == ("paused", "because")


@pytest.mark.parametrize(
    "is_middle",
    [
        pytest.param(False, marks=pytest.mark.prove, id="of an epoch's end"),
        pytest.param(True, id="in the middle of an epoch"),
    ],
)
def test_a_process_killed_after_a_checkpoint_is_resumed_to_the_same_weights(
    zygote: Zygote, start: Any, tmp_path: Path, is_middle: bool
) -> None:
    """The last checkpoint of a training holds its weights and the best ones: both must be equal bit for bit."""
    task = digits(epochs=40, model={"name": "mlp", "hidden": [64], "dropout": 0.3})
    if is_middle:  # an epoch of so many steps that it lasts for more than a second on any machine
        task |= {"epochs": 2, "batch_size": 1, "data": table(tmp_path / "data.csv", 6_000)}
    end = task["epochs"] - 1
    changed = {"task": task, "run_until": end, "pauses": True}

    def place(name: str, **more: Any) -> Start:
        more = {"checkpoints": str(tmp_path / name), "checkpoint_seconds": 0.0, **more}
        return replace(start(**changed), **more)

    expected = list(zygote.fork(place("straight")).messages())
    child = zygote.fork(place("killed"))
    messages = child.messages()
    saved = next(message for message in messages if isinstance(message, CheckpointSaved))
    assert (saved.batch > 0) == is_middle
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    assert list(messages)[-1] == Exited(-signal.SIGKILL)
    resume = {name: getattr(saved, name) for name in ("step", "batch", "sha256", "size")}
    changed["resume"] = {**resume, "uri": f"blob:{saved.sha256}"}
    again = list(zygote.fork(place("again", resume=saved.path)).messages())
    reports = [message for message in expected if isinstance(message, Report)]
    assert len(reports) == end
    assert [message for message in again if isinstance(message, Report)] == reports[saved.step :]
    one, other = (load_checkpoint(tmp_path / name) for name in ("straight", "again"))
    assert one is not None
    assert other is not None
    assert one["replicates"][0]["step"] == other["replicates"][0]["step"]
    for weights in (lambda content: content["replicates"][0]["model"], lambda content: content["best"]["weights"][0]):
        assert all(torch.equal(tensor, weights(other)[name]) for name, tensor in weights(one).items())


def until_first_report(child: Child) -> Iterator[ChildMessage | Exited]:
    messages = child.messages()
    assert [type(next(messages)) for _ in range(2)] == [Provenance, Report]
    return messages


def test_a_process_killed_from_outside_is_known_at_once(zygote: Zygote, start: Any) -> None:
    child = zygote.fork(start(task=digits(epochs=ENDLESS)))
    messages = until_first_report(child)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    killed_at = time.monotonic()
    assert list(messages)[-1] == Exited(-signal.SIGKILL)
    assert time.monotonic() - killed_at < 2
    assert zygote.alive


def test_terminating_ends_the_process_and_the_zygote_serves_on(zygote: Zygote, start: Any) -> None:
    child = zygote.fork(start(task=digits(epochs=ENDLESS)))
    messages = until_first_report(child)
    child.terminate()
    assert list(messages)[-1] == Exited(-signal.SIGKILL)
    child.terminate()  # to an ended process it means nothing
    child.order(Action.STOP, "too late")
    assert outcome_of(list(zygote.fork(start()).messages())).result == "succeeded"


def test_terminating_ends_whatever_the_training_process_has_begun(start: Any, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, pathlib, subprocess, threading\n"
        "def begin():\n"
        "    process = subprocess.Popen(['sleep', '600'])\n"
        f"    pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(process.pid))\n"
        "os.register_at_fork(after_in_child=lambda: threading.Timer(0.2, begin).start())\n"
    )
    with (
        forked_zygotes(),
        Zygote([cpu()], 1, tmp_path / "zygote.log", os.environ | {"PYTHONPATH": str(tmp_path)}) as zygote,
    ):
        zygote.wait_ready()
        child = zygote.fork(start(task=digits(epochs=ENDLESS)))
        messages = until_first_report(child)
        assert eventually((tmp_path / "pid").exists)
        assert eventually((tmp_path / "pid").read_text)
        child.terminate()
        assert list(messages)[-1] == Exited(-signal.SIGKILL)
        assert is_gone(int((tmp_path / "pid").read_text()))


def test_a_training_process_sees_no_token_and_no_gpu(tmp_path: Path) -> None:
    """A process has its environment before it imports anything, so the test does not wait until it is ready."""
    given = os.environ | {"ASSAYER_TOKEN": "a-secret", "OMP_NUM_THREADS": "7"}
    with Zygote([cpu()], 3, tmp_path / "zygote.log", given) as zygote:
        path = Path(f"/proc/{zygote.pid}/environ")
        assert eventually(lambda: "OMP_NUM_THREADS=3\0" in path.read_text()), "it was not executed"
        environment = path.read_text().split("\0")
        os.kill(zygote.pid, signal.SIGKILL)
    assert not [entry for entry in environment if "a-secret" in entry]
    assert "CUDA_VISIBLE_DEVICES=" in environment
    assert "OMP_NUM_THREADS=3" in environment


def test_output_of_a_task_is_kept_in_its_files(zygote: Zygote, start: Any, tmp_path: Path) -> None:
    list(zygote.fork(start(task=digits(optimizer={"name": "adamv"}))).messages())
    assert "ConfigError" in (tmp_path / "err").read_text()


def silent() -> dict[str, Any]:
    """A task that reports nothing for long: it will not notice by itself that nobody listens."""
    return digits(data={"name": "digits"}, model={"name": "mlp", "hidden": [2048, 2048]}, batch_size=1)


def test_when_the_zygote_dies_its_child_dies_too(start: Any, tmp_path: Path) -> None:
    with forked_zygotes(), Zygote([cpu()], 1, tmp_path / "zygote.log") as zygote:
        zygote.wait_ready()
        child = zygote.fork(start(task=silent()))
        os.kill(zygote.pid, signal.SIGKILL)
        # The child may have told where its code came from before it died.
        *_, last = child.messages()
        assert last == Exited(-signal.SIGKILL)
        assert not zygote.alive
        assert child.pid is not None
        assert is_gone(child.pid)
        # And an attempt started on a dead zygote has died as well.
        assert list(zygote.fork(start()).messages()) == [Exited(-signal.SIGKILL)]


def test_a_zygote_leaves_nothing_running_behind(start: Any, tmp_path: Path) -> None:
    with forked_zygotes(), Zygote([cpu()], 1, tmp_path / "zygote.log") as zygote:
        zygote.wait_ready()
        child = zygote.fork(start(task=silent()))
        assert child.pid is not None
    assert is_gone(child.pid)
    child._channel.close()


@pytest.mark.prove
@pytest.mark.skipif(torch.version.cuda is not None, reason="this torch can use a GPU")
def test_a_zygote_that_cannot_start_says_why(tmp_path: Path) -> None:
    device = LocalDevice(cpu().device.model_copy(update={"kind": "cuda"}), visible="")
    with (
        Zygote([device], 1, tmp_path / "zygote.log") as zygote,
        pytest.raises(ZygoteFailed, match="installed here without CUDA"),
    ):
        zygote.wait_ready()


def is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            # An orphan that nobody reaps (a container without an init) stays as a zombie: dead all the same.
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False
