"""Starts this project's commands by a fork of a process that has imported them, in milliseconds instead of seconds.

`COMMANDS.popen(…)` and `TRAINING.run(…)` take what `subprocess.Popen` and `subprocess.run` take. The started process is
a child of the test's process: it is waited for, killed and measured like any other. Unlike after an exec,
/proc/PID/cmdline and /proc/PID/environ are those of the fork server. Tests that read these use `subprocess`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, AnyStr

import pytest

from tests.support.fork_server import Command, StartedProcess

ROOT = Path(__file__).resolve().parents[2]
_PR_SET_CHILD_SUBREAPER = 36


class ForkServer:
    """A fork server for one list of modules; its process starts with the first command."""

    def __init__(self, *modules: str) -> None:
        self._modules = modules
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def popen(self, command: Sequence[str | Path], **settings: Any) -> ForkedProcess[Any]:
        """Start `python -m MODULE …`."""
        return ForkedProcess(self, command, **settings)

    def run(
        self,
        command: Sequence[str | Path],
        *,
        input: str | bytes | None = None,  # noqa: A002 - the name that `subprocess.run` gives it
        capture_output: bool = False,
        timeout: float | None = None,
        check: bool = False,
        **settings: Any,
    ) -> subprocess.CompletedProcess[Any]:
        """Run `python -m MODULE …` to its end."""
        if input is not None:
            settings["stdin"] = subprocess.PIPE
        if capture_output:
            settings["stdout"] = settings["stderr"] = subprocess.PIPE
        with self.popen(command, **settings) as process:
            try:
                out, err = process.communicate(input, timeout)
            except BaseException:
                process.kill()
                raise
        done = subprocess.CompletedProcess(command, process.returncode, out, err)
        if check:
            done.check_returncode()
        return done

    def fork(self, command: Command, descriptors: Sequence[int]) -> int:
        """Have a new child of this process execute the command, and return its process id."""
        content = pickle.dumps(command)
        with self._lock:
            control = self._control or self._begin()
            with _adopting():
                socket.send_fds(control, [len(content).to_bytes(4, "big")], descriptors)
                control.sendall(content)
                pid = int.from_bytes(control.recv(4), "big")
        assert pid, f"the fork server of {', '.join(self._modules)} has died"
        return pid

    def _begin(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.fork_server", str(theirs.fileno()), *self._modules],
                cwd=ROOT,
                env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._control = ours
        _begun.append(self)
        return ours

    def close(self) -> None:
        """End the fork server; commands that it started go on."""
        if self._process is not None and self._control is not None:
            self._control.close()
            self._process.wait()
            self._process = self._control = None


_begun: list[ForkServer] = []


@contextlib.contextmanager
def _adopting() -> Iterator[None]:
    """Be the nearest subreaper: what the server's fork forks becomes a child of this process when that fork exits."""
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


class ForkedProcess(StartedProcess[AnyStr]):
    """A `Popen` of `python -m MODULE …` whose process is a fork of a fork server."""

    def __init__(self, server: ForkServer, command: Sequence[str | Path], **settings: Any) -> None:
        self._server = server
        super().__init__(command, **settings)

    def start(self, command: Command, descriptors: Sequence[int]) -> int:
        assert list(command.arguments[:2]) == [sys.executable, "-m"], command.arguments
        return self._server.fork(command, descriptors)


COMMANDS = ForkServer("service.main", "service.cli.main", "worker.cli")
"""For `service`, `study`, and a worker that does not come to starting a zygote."""

TRAINING = ForkServer("worker.cli", "worker.try_trial", "worker.trial.__main__", "torch._dynamo")
"""For workers that train, and their zygotes."""


@contextlib.contextmanager
def forked_zygotes() -> Iterator[None]:
    """Have zygotes that this process itself starts in the block forked by TRAINING."""
    forking = SimpleNamespace(**vars(subprocess) | {"Popen": TRAINING.popen})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("worker.agent.slots.process.subprocess", forking)
        yield


@pytest.fixture(scope="session", autouse=True)
def _fork_servers() -> Iterator[None]:
    yield
    while _begun:
        _begun.pop().close()
