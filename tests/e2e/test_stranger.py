"""A stranger's mistakes: bad study files and bad calls, each as a real process against a real service.

Each is answered with one sentence per mistake that names the thing, exit status 1 or 2, and no traceback.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.client import Client
from tests.client.studies import hand_driven
from tests.support.capabilities import WITHOUT_CAPABILITIES
from tests.support.forked_commands import COMMANDS
from tests.support.service import ROOT, Service, free_port, running_service

pytestmark = pytest.mark.prove

GOOD = """\
name: strange
objective: {metric: val/accuracy, direction: maximize}
task:
  train:
    data: {name: digits}
    model: {name: mlp}
    loss: {name: cross_entropy}
    optimizer: {name: sgd, lr: 0.1}
    epochs: 3
space:
  optimizer.lr: {type: float, low: 1e-4, high: 1e-1, log: true}
sampler: random
budget: {trials: 4}
"""
PROCESSOR_SECONDS = 5.0
"""The most that an answer may cost; a command of the service or of `study` is forked and imports nothing."""
MOST_LINES = 20


@dataclass(frozen=True)
class Case:
    """A study file that is wrong, and what the answer must name."""

    text: str | bytes
    named: str
    status: int = 1


def but(old: str, new: str) -> str:
    """The good study file with one piece of it replaced."""
    assert old in GOOD
    return GOOD.replace(old, new)


FILES: dict[str, Case] = {
    "an empty file": Case("", "study.yaml"),
    "a list": Case("- name: x\n", "study.yaml"),
    "a sentence": Case("just a sentence\n", "study.yaml"),
    "a binary file": Case(bytes(range(256)), "study.yaml"),
    "Latin-1": Case("name: caf\xe9\n".encode("latin-1"), "study.yaml"),
    "a NUL": Case("name: a\0b\n", "study.yaml"),
    "a tab": Case("name: x\nobjective:\n\tmetric: loss\n", "study.yaml"),
    "a bracket that is left open": Case(but("{trials: 4}", "{trials: 4"), "study.yaml"),
    "a key twice": Case(GOOD + "name: again\n", "name"),
    "an anchor that is not there": Case(but("sampler: random", "sampler: *other"), "other"),
    "a misspelt key": Case(but("sampler:", "smapler:"), "did you mean 'sampler'"),
    "a misspelt key further in": Case(but("direction:", "dierction:"), "direction"),
    "no name": Case(but("name: strange\n", ""), "name"),
    "a name of blanks": Case(but("name: strange", "name: 'a b'"), "name"),
    "no objective": Case(but("objective: {metric: val/accuracy, direction: maximize}\n", ""), "objective"),
    "another direction": Case(but("direction: maximize", "direction: up"), "direction"),
    "a metric that nothing reports": Case(but("val/accuracy", "val/acc"), "did you mean 'val/accuracy'"),
    "a metric of the test split": Case(but("val/accuracy", "test/accuracy"), "write val/accuracy"),
    "an unknown sampler": Case(but("sampler: random", "sampler: randm"), "did you mean 'random'"),
    "an unknown pruner": Case(GOOD + "pruner: medain\n", "did you mean 'median'"),
    "an unknown model": Case(but("mlp", "mpl"), "did you mean 'mlp'"),
    "an unknown optimizer": Case(but("name: sgd", "name: sdg"), "did you mean 'sgd'"),
    "an unknown data set": Case(but("digits", "digts"), "did you mean 'digits'"),
    "a loss for other data": Case(but("cross_entropy", "mse"), "mse is for regression"),
    "an unknown option": Case(but("lr: 0.1", "lrr: 0.1"), "did you mean 'lr'"),
    "an unknown parameter type": Case(but("type: float", "type: flaot"), "did you mean 'float'"),
    "low above high": Case(but("low: 1e-4", "low: 10"), "space.optimizer.lr"),
    "a word for a number": Case(but("low: 1e-4", "low: small"), "space.optimizer.lr"),
    "a logarithm from zero": Case(but("low: 1e-4", "low: 0"), "space.optimizer.lr"),
    "NaN": Case(but("low: 1e-4", "low: .nan"), "space.optimizer.lr"),
    "an endless range": Case(but("high: 1e-1", "high: .inf"), "space.optimizer.lr"),
    "a huge number": Case(but("high: 1e-1", "high: 1" + "0" * 400), "space.optimizer.lr"),
    "a huge budget": Case(but("trials: 4", "trials: 99999999999999999999"), "budget.trials"),
    "half a trial": Case(but("trials: 4", "trials: 4.5"), "budget.trials"),
    "no space": Case(GOOD[: GOOD.index("space:")] + "sampler: random\n", "space"),
    "a space that reaches nothing": Case(but("optimizer.lr: {", "optimizer.rate: {"), "space.optimizer.rate"),
    "momentum of an optimizer that has none": Case(
        but("name: sgd, lr: 0.1", "name: adam, lr: 0.1").replace("optimizer.lr: {", "optimizer.momentum: {"),
        "optimizer.momentum",
    ),
    "momentum without its section": Case(but("optimizer.lr: {", "momentum: {"), "optimizer.momentum"),
    "a grid over a range": Case(but("sampler: random", "sampler: grid"), "space.optimizer.lr"),
    "an empty choice": Case(
        but("{type: float, low: 1e-4, high: 1e-1, log: true}", "{type: categorical, choices: []}"), "choices"
    ),
    "a task in the wrong place": Case(but("task:\n  train:", "train:\n  train:"), "train"),
    "a condition on nothing": Case(but("log: true}", "log: true, when: {model.nme: mlp}}"), "model.nme"),
    "a W&B sweep": Case(
        "method: bayes\nmetric: {name: val_loss, goal: minimize}\nparameters:\n  lr: {min: 0.1, max: 1}\n", "W&B"
    ),
}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service")) as service:
        with Client(service.url) as client:
            client.create_study(hand_driven(name="known"))
        yield service


def called(
    folder: Path, *words: str, server: str | None = None, prefix: Sequence[str] = (), **environment: str
) -> tuple[int, str]:
    """Run a command as a stranger does; its exit status and what it wrote, checked for what no mistake deserves."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ASSAYER_")}
    kept |= {"PYTHONPATH": str(ROOT), **({"ASSAYER_SERVER": server} if server else {}), **environment}
    before = os.times()
    command = [*prefix, sys.executable, "-m", *words]
    run = subprocess.run if prefix else COMMANDS.run
    done = run(command, cwd=folder, env=kept, capture_output=True, text=True, check=False, timeout=60)
    after = os.times()
    spent = after.children_user - before.children_user + after.children_system - before.children_system
    told = (done.stdout + done.stderr).strip()
    assert "Traceback" not in told, told
    assert told, "nothing was said"
    assert spent < PROCESSOR_SECONDS, f"took {spent:.1f} s of a processor"
    return done.returncode, told


@pytest.mark.parametrize("name", FILES)
def test_a_bad_study_file(live: Service, tmp_path: Path, name: str) -> None:
    case = FILES[name]
    content = case.text if isinstance(case.text, bytes) else case.text.encode()
    (tmp_path / "study.yaml").write_bytes(content)
    status, told = called(tmp_path, "service.cli.main", "create", "study.yaml", server=live.url)
    assert status == case.status, told
    assert case.named in told
    assert len(told.splitlines()) <= MOST_LINES, told


STUDY = "service.cli.main"
CALLS: dict[str, tuple[int, list[str], str]] = {
    "no command": (2, [STUDY], "COMMAND"),
    "an unknown command": (2, [STUDY, "strat"], "strat"),
    "a file that is not there": (1, [STUDY, "create", "nowhere.yaml"], "nowhere.yaml"),
    "a folder for a file": (1, [STUDY, "plan", "."], "."),
    "an unknown flag": (2, [STUDY, "list", "--all-of-them"], "--all-of-them"),
    "a missing argument": (2, [STUDY, "show"], "NAME"),
    "an unknown study": (1, [STUDY, "show", "knwon"], "did you mean 'known'"),
    "an unknown study to watch": (1, [STUDY, "watch", "nobody"], "nobody"),
    "an unknown trial": (1, [STUDY, "show", "known", "--trial", "7"], "7"),
    "a trial that is a word": (1, [STUDY, "logs", "known", "first"], "first"),
    "the best of none": (1, [STUDY, "best", "known"], "completed"),
    "a contradiction": (2, [STUDY, "show", "known", "--spec", "--trial", "0"], "--spec"),
    "an unknown column": (1, [STUDY, "trials", "known", "--sort", "stae"], "did you mean 'state'"),
    "an extension of nothing": (1, [STUDY, "extend", "known"], "trials"),
    "a box of no review": (1, [STUDY, "accept", "known", "--box", "lr=[0.1, 0.2]"], "review"),
    "a value without a key": (1, [STUDY, "enqueue", "known", "0.1"], "KEY=VALUE"),
    "an enqueued value out of range": (1, [STUDY, "enqueue", "known", "lr=7"], "lr"),
    "an unknown worker": (1, [STUDY, "readmit", "nobody"], "nobody"),
    "an edit of nothing": (1, [STUDY, "edit", "known"], "--set"),
    "an unknown setting": (1, [STUDY, "edit", "known", "--set", "budget.trails=9"], "trails"),
    "an address that is none": (1, [STUDY, "list", "--server", "not a url"], "not a url"),
    "no service there": (1, [STUDY, "list", "--server", "http://127.0.0.1:{free}"], "127.0.0.1:{free}"),
    "a service without a command": (2, ["service"], "COMMAND"),
    "a port that is none": (2, ["service", "serve", "--port", "99999"], "99999"),
    "a port in use": (1, ["service", "serve", "--port", "{used}", "--database", "a.db"], "{used}"),
    "a database that is a folder": (1, ["service", "serve", "--port", "{free}", "--database", "."], "."),
    "an open door without a token": (
        1, ["service", "serve", "--host", "0.0.0.0", "--port", "{free}", "--database", "a.db"], "ASSAYER_TOKEN",
    ),
    "a worker of two devices": (2, ["worker", "--cpu", "--gpu", "0"], "--gpu"),
    "a worker without a device": (2, ["worker"], "--cpu"),
    "a worker of an unknown module": (2, ["worker", "--cpu", "--register", "nowhere_at_all"], "nowhere_at_all"),
    "a trial with an unknown module": (
        2, ["worker", "try", "known", "--trial", "0", "--register", "nowhere_at_all"], "nowhere_at_all",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_a_bad_call(live: Service, tmp_path: Path, name: str) -> None:
    status, words, named = CALLS[name]
    with socket.socket() as used:
        used.bind(("127.0.0.1", 0))
        used.listen()
        ports = {"free": free_port(), "used": used.getsockname()[1]}
        words = [word.format(**ports) for word in words]
        ended, told = called(tmp_path, *words, server=live.url)
    assert named.format(**ports) in told, told
    assert ended == status, told


def test_a_wrong_token(tmp_path: Path) -> None:
    with running_service(tmp_path, environment={"ASSAYER_TOKEN": "right-token-of-enough-length"}) as guarded:
        status, told = called(tmp_path, STUDY, "list", server=guarded.url, ASSAYER_TOKEN="wrong")
        assert (status, len(told.splitlines())) == (1, 1)
        assert "token" in told.lower()
        status, told = called(tmp_path, STUDY, "list", server=guarded.url)
        assert (status, "token" in told.lower()) == (1, True)


def test_a_file_that_may_not_be_read(live: Service, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(GOOD)
    file.chmod(0)
    status, told = called(tmp_path, STUDY, "create", "study.yaml", server=live.url, prefix=WITHOUT_CAPABILITIES)
    assert (status, "study.yaml" in told, "Permission denied" in told) == (1, True, True), told
