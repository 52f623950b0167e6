"""Command tasks in real processes: their arguments, how they report, and every way they end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from service.contract.attempt import FailureClass, Outcome
from service.contract.base import TaskKind
from service.contract.claim import Monitor
from service.contract.report import Action
from tests.support.forked_commands import forked_zygotes
from tests.support.service import ROOT
from tests.worker.grants import grant, start_of
from tests.worker.waiting import eventually
from worker.agent.devices import cpu
from worker.agent.slots.process import ChildMessage, Zygote
from worker.protocol import CheckpointSaved, Ended, Exited, Provenance, Report, Start
from worker.trial.tasks.command import arguments, variables

PARAMETERS = {"lr": 0.1, "optimizer.name": "sgd", "hidden": [64, 32], "nesterov": True}
FILE = Path("/p.json")

Python = Callable[[str], tuple[str, ...]]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["train"], ["train", "--lr=0.1", "--optimizer.name=sgd", "--hidden=[64, 32]", "--nesterov=true"]),
        (
            ["train", "-l", "{lr}", "{hidden}"],
            ["train", "-l", "0.1", "[64, 32]", "--optimizer.name=sgd", "--nesterov=true"],
        ),
        (["train", "lr={lr},{optimizer.name}", "{parameters}"], ["train", "lr=0.1,sgd", "/p.json"]),
        (["train", "--m={momentum}", "{parameters}"], ["train", "/p.json"]),
        (["sh", "-c", "echo ${HOME} {lr}", "{parameters}"], ["sh", "-c", "echo ${HOME} 0.1", "/p.json"]),
    ],
)
def test_parameters_are_arguments(argv: list[str], expected: list[str]) -> None:
    assert arguments(argv, PARAMETERS, FILE) == expected


def test_parameters_are_variables() -> None:
    assert variables(PARAMETERS) == {
        "ASSAYER_PARAMETER_LR": "0.1",
        "ASSAYER_PARAMETER_OPTIMIZER_NAME": "sgd",
        "ASSAYER_PARAMETER_HIDDEN": "[64, 32]",
        "ASSAYER_PARAMETER_NESTEROV": "true",
    }


SCRIPT = """
import time
from worker.trial import current_trial
trial = current_trial()
total = float(trial.load_checkpoint().read_text()) if trial.load_checkpoint() else 0.0
for step in range((trial.step or 0) + 1, 6):
    total += trial.parameters['lr']
    verdict = trial.report(step, {'loss': total}, wait=trial.parameters.get('wait', False))
    trial.save_checkpoint(str(total).encode())
    if trial.should_stop:
        print(verdict.reason)
        break
"""


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    folder = tmp_path_factory.mktemp("zygote")
    environment = {**os.environ, "ASSAYER_TOKEN": "a-secret", "PYTHONPATH": str(ROOT)}
    with forked_zygotes(), Zygote([cpu()], 1, folder / "zygote.log", environment) as process:
        process.wait_ready()
        yield process


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Start]:
    def of(
        *argv: str, lr: float = 0.5, wait: bool = False, task: dict[str, Any] | None = None, **changes: Any
    ) -> Start:
        granted = grant(
            nonce="",
            task_kind=TaskKind.COMMAND,
            task={"argv": list(argv), **(task or {})},
            parameters={"lr": 0.5, "wait": wait},
            monitor=Monitor(metric="loss", direction="minimize", keep="last"),
            **changes,
        )
        return start_of(granted, tmp_path)

    return of


@pytest.fixture
def python(tmp_path: Path) -> Python:
    """Write a script, and say how it is started."""

    def of(script: str) -> tuple[str, ...]:
        (tmp_path / "script.py").write_text(script)
        return (sys.executable, str(tmp_path / "script.py"))

    return of


def outcome_of(messages: list[ChildMessage | Exited]) -> Outcome:
    [ended] = [message for message in messages if isinstance(message, Ended)]
    return Outcome.model_validate(ended.outcome)


def reports(messages: list[ChildMessage | Exited]) -> list[tuple[int, dict[str, float]]]:
    return [(message.step, dict(message.metrics)) for message in messages if isinstance(message, Report)]


def test_a_script_reports_and_saves_by_its_trial(zygote: Zygote, start: Callable[..., Start], python: Python) -> None:
    messages = list(zygote.fork(start(*python(SCRIPT))).messages())
    assert reports(messages) == [(step, {"loss": step * 0.5}) for step in range(1, 6)]
    assert [message.step for message in messages if isinstance(message, CheckpointSaved)] == [1, 2, 3, 4, 5]
    assert outcome_of(messages) == Outcome(result="succeeded")


@pytest.mark.parametrize(("action", "result"), [(Action.STOP, "pruned"), (Action.PAUSE, "paused")])
def test_orders_reach_the_script(
    zygote: Zygote, start: Callable[..., Start], python: Python, tmp_path: Path, action: Action, result: str
) -> None:
    child = zygote.fork(start(*python(SCRIPT), wait=True))
    messages = []
    for message in child.messages():
        if isinstance(message, Report):
            child.order(action, "because")
            child.send_verdict_ready(message.step)
        messages.append(message)
    assert reports(messages) == [(1, {"loss": 0.5})]
    assert outcome_of(messages) == Outcome(result=result, message="because")  # type: ignore[arg-type]
    assert (tmp_path / "out").read_text() == "because\n"


def test_a_verdict_that_says_to_go_on_ends_the_script_s_wait(
    zygote: Zygote, start: Callable[..., Start], python: Python, tmp_path: Path
) -> None:
    impatient = "import worker.trial.trial\nworker.trial.trial.WAIT_SECONDS = 5"
    child = zygote.fork(start(*python(f"{impatient}{SCRIPT}print(trial._channel.judged_step)"), wait=True))
    messages = []
    for message in child.messages():
        if isinstance(message, Report):
            child.send_verdict_ready(message.step)
        messages.append(message)
    assert len(reports(messages)) == 5
    assert (tmp_path / "out").read_text() == "5\n"


def test_a_script_pauses_at_its_rung_and_resumes_from_its_checkpoint(
    zygote: Zygote, start: Callable[..., Start], python: Python, tmp_path: Path
) -> None:
    messages = list(zygote.fork(start(*python(SCRIPT), run_until=2, pauses=True)).messages())
    assert outcome_of(messages) == Outcome(result="paused", message="trained to step 2, its rung")
    [*_, saved] = [message for message in messages if isinstance(message, CheckpointSaved)]
    resume = {"step": saved.step, "sha256": saved.sha256, "size": saved.size, "uri": f"blob:{saved.sha256}"}
    begun = start(*python(SCRIPT), resume=resume)
    again = list(zygote.fork(Start(**{**asdict(begun), "resume": saved.path})).messages())
    assert reports(again) == [(step, {"loss": step * 0.5}) for step in (3, 4, 5)]


PRINTING = """
import sys, time
for epoch in range(1, 4):
    print(f"epoch {epoch}: loss={0.5 / epoch}", file=sys.stderr if epoch == 2 else sys.stdout)
    time.sleep(0.3)
print("args", *sys.argv[1:])
"""
PATTERNS = {"metrics": {"loss": r"loss=(\S+)"}, "step": r"epoch (\d+)"}


def test_printed_metrics_of_an_unchanged_program_are_reported(
    zygote: Zygote, start: Callable[..., Start], python: Python, tmp_path: Path
) -> None:
    messages = list(zygote.fork(start(*python(PRINTING), task=PATTERNS)).messages())
    assert reports(messages) == [(1, {"loss": 0.5}), (2, {"loss": 0.25}), (3, {"loss": 0.5 / 3})]
    assert outcome_of(messages) == Outcome(result="succeeded")
    assert (tmp_path / "out").read_text().endswith("args --lr=0.5 --wait=false\n")


ENDLESS = """
import itertools, signal, sys, time
from worker.trial import current_trial

def end(*_):
    print("asked to end")
    sys.exit(3)

signal.signal(signal.SIGTERM, end)
assert current_trial().parameters == {"lr": 0.5, "wait": False}
for n in itertools.count():
    print(f"loss={n}")
    time.sleep(0.05)
"""


def test_a_program_that_hears_no_orders_is_asked_to_end_and_may_do_so_as_it_likes(
    zygote: Zygote, start: Callable[..., Start], python: Python, tmp_path: Path
) -> None:
    child = zygote.fork(start(*python(ENDLESS), task={"metrics": PATTERNS["metrics"]}))
    messages = []
    for message in child.messages():
        if isinstance(message, Report):
            child.order(Action.STOP, "because")
        messages.append(message)
    assert reports(messages)[0] == (1, {"loss": 0})
    assert (tmp_path / "out").read_text().endswith("asked to end\n")
    assert outcome_of(messages) == Outcome(result="pruned", message="because")


def test_a_failed_program_is_reported_with_its_last_output(
    zygote: Zygote, start: Callable[..., Start], python: Python
) -> None:
    outcome = outcome_of(list(zygote.fork(start(*python("raise ValueError('my own')"))).messages()))
    assert outcome.failure is FailureClass.USER_EXCEPTION
    assert outcome.message == "the command exited with status 1: ValueError: my own"
    assert (outcome.traceback or "").startswith("Traceback (most recent call last)")


@pytest.mark.parametrize(
    ("argv", "task", "failure", "said"),
    [
        (("no-such-program",), {}, FailureClass.HOST_FAULT, "no-such-program"),
        (("true",), {"directory": "/no/such/directory"}, FailureClass.HOST_FAULT, "/no/such/directory"),
        ("import nowhere", {}, FailureClass.HOST_FAULT, "No module named 'nowhere'"),
        ("raise MemoryError", {}, FailureClass.OUT_OF_MEMORY, "status 1: MemoryError"),
        (
            'raise RuntimeError("DefaultCPUAllocator: can\'t allocate memory")',
            {},
            FailureClass.OUT_OF_MEMORY,
            "can't allocate memory",
        ),
        ("print('epoch 1 loss=x')", PATTERNS, FailureClass.INVALID, "its group must match only a number"),
    ],
)
def test_why_a_program_could_not_do_its_work_is_told(
    zygote: Zygote,
    start: Callable[..., Start],
    python: Python,
    argv: tuple[str, ...] | str,
    task: dict[str, Any],
    failure: FailureClass,
    said: str,
) -> None:
    program = python(argv) if isinstance(argv, str) else argv
    outcome = outcome_of(list(zygote.fork(start(*program, task=task)).messages()))
    assert outcome.failure is failure
    assert said in outcome.message


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_program_killed_by_a_signal_is_judged_by_the_agent_as_its_training_process(
    zygote: Zygote, start: Callable[..., Start], python: Python, number: signal.Signals
) -> None:
    script = f"import os; os.kill(os.getpid(), {int(number)})"
    messages = list(zygote.fork(start(*python(script))).messages())
    assert messages[-1] == Exited(-number)
    assert not [message for message in messages if isinstance(message, Ended)]


def test_terminating_the_attempt_ends_the_program(
    zygote: Zygote, start: Callable[..., Start], python: Python, tmp_path: Path
) -> None:
    script = "import os, time; print(f'loss={os.getpid()}'); time.sleep(600)"
    child = zygote.fork(start(*python(script), task={"metrics": PATTERNS["metrics"]}))
    pid = 0
    for message in child.messages():
        if isinstance(message, Report):
            pid = int(message.metrics["loss"])
            child.terminate()
    assert pid
    assert eventually(lambda: not Path(f"/proc/{pid}").exists() or state_of(pid) == "Z")


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_commands_code_is_fingerprinted_by_the_files_that_it_names(
    zygote: Zygote, start: Callable[..., Start], python: Python
) -> None:
    def fingerprint(script: str) -> str | None:
        told = next(iter(list(zygote.fork(start(*python(script), "x" * 5000)).messages())))
        assert isinstance(told, Provenance)
        return told.code

    assert fingerprint("") == fingerprint("") != fingerprint("# another")


def test_a_program_has_its_own_variables_and_no_token(
    zygote: Zygote, start: Callable[..., Start], python: Python, tmp_path: Path
) -> None:
    script = "import os; print(os.getcwd(), dict(os.environ))"
    task = {"directory": str(tmp_path), "environment": {"MINE": "1"}}
    list(zygote.fork(start(*python(script), task=task)).messages())
    printed = (tmp_path / "out").read_text()
    assert printed.startswith(str(tmp_path))
    assert "'MINE': '1'" in printed
    assert "'ASSAYER_PARAMETER_LR': '0.5'" in printed
    assert "a-secret" not in printed


@pytest.mark.parametrize("last", ["nan", "-inf"])
def test_an_objective_that_ends_without_a_number_has_diverged(
    zygote: Zygote, start: Callable[..., Start], python: Python, last: str
) -> None:
    script = f"print('loss=0.5', flush=True)\nprint('loss={last}')\n"
    begun = start(*python(script), task={"metrics": {"loss": r"loss=(\S+)"}})
    outcome = outcome_of(list(zygote.fork(begun).messages()))
    assert (outcome.result, outcome.failure) == ("failed", FailureClass.DIVERGED)
    assert "its last finite value was 0.5" in outcome.message
