"""A process that has imported modules and forks for each command; tests.support.forked_commands starts and uses it.

A forked process executes `python -m MODULE …` as a new interpreter would, without the seconds that imports take:

python -m tests.support.fork_server FD MODULE…      FD: its control socket; MODULE: what to import
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import importlib
import os
import pickle
import runpy
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, AnyStr, Never

_MAX_DESCRIPTORS = 16
_PR_SET_DUMPABLE = 4
_PATH = sys.path[1:]


@dataclass(frozen=True)
class Command:
    """What a forked process executes, and what an exec would have given it."""

    arguments: Sequence[str]
    cwd: str
    environment: Mapping[str, str]
    descriptors: Sequence[int]
    """The numbers that the descriptors sent along have in the process."""
    umask: int
    starts_session: bool

    def prepare(self, received: Sequence[int]) -> None:
        """Give this process what the command expects: descriptors, folder, environment, search path and signals."""
        if self.starts_session:
            os.setsid()
        if self.umask >= 0:
            os.umask(self.umask)
        _place(received, self.descriptors)
        os.chdir(self.cwd)
        os.environ.clear()
        os.environ.update(self.environment)
        time.tzset()
        paths = [path for path in self.environment.get("PYTHONPATH", "").split(os.pathsep) if path]
        sys.path[:] = [self.cwd, *paths, *_PATH]
        importlib.invalidate_caches()
        sys.orig_argv = list(self.arguments)
        sys.argv = ["-m", *self.arguments[3:]]
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if "sitecustomize" not in sys.modules and any(Path(path, "sitecustomize.py").exists() for path in paths):
            importlib.import_module("sitecustomize")

    def execute(self) -> None:
        """Run the module as `__main__`."""
        name = self.arguments[2]
        if not hasattr(sys.modules.get(name), "__path__"):
            sys.modules.pop(name, None)  # `__main__` is another module than the imported one, as with an exec
        runpy.run_module(name, run_name="__main__", alter_sys=True)


def _place(received: Sequence[int], numbers: Sequence[int]) -> None:
    """Give the received descriptors these numbers, and close all other descriptors."""
    above = max(*numbers, 100) + 1
    moved = [fcntl.fcntl(each, fcntl.F_DUPFD, above) for each in received]
    for each, number in zip(moved, numbers, strict=True):
        os.dup2(each, number)
    for each in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        if each not in numbers:
            with suppress(OSError):  # the descriptor of this listing is closed by now
                os.close(each)


class StartedProcess(subprocess.Popen[AnyStr]):
    """A `Popen` that starts some commands in another way than by an exec."""

    def start(self, command: Command, descriptors: Sequence[int]) -> int | None:
        """Start the command and return its process id; return None for a command that needs an exec."""
        raise NotImplementedError

    def _execute_child(self, *given: Any) -> None:
        arguments, _, _, _, pass_fds, cwd, environment, _, _, _, *rest = given
        pipes, (_, _, _, _, umask, starts_session, _) = rest[:6], rest[6:]
        standard = [number if end == -1 else end for number, end in enumerate((pipes[0], pipes[3], pipes[5]))]
        command = Command(
            [os.fspath(each) for each in arguments],
            os.fspath(cwd or Path.cwd()),
            dict(os.environ if environment is None else environment),
            [0, 1, 2, *pass_fds],
            umask,
            starts_session,
        )
        pid = self.start(command, [*standard, *pass_fds])
        if pid is None:
            super()._execute_child(*given)  # type: ignore[misc]
            return
        self.pid = pid
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


class _ForkingProcess(StartedProcess[AnyStr]):
    """The `Popen` of a forked process: a module that is loaded is forked, as a worker's zygote; the rest is exec'd."""

    def start(self, command: Command, descriptors: Sequence[int]) -> int | None:
        if list(command.arguments[:2]) != [sys.executable, "-m"] or not _is_loaded(command.arguments[2]):
            return None
        pid = os.fork()
        if pid == 0:
            gc.freeze()  # a destructor of the agent's objects would close descriptors that are the zygote's now
            _become(command, descriptors)
        return pid


def _is_loaded(name: str) -> bool:
    """Whether `python -m NAME` would find the module that it executes already imported."""
    module = sys.modules.get(name)
    return module is not None and (not hasattr(module, "__path__") or f"{name}.__main__" in sys.modules)


def _become(command: Command, descriptors: Sequence[int]) -> Never:
    """Execute a command in a process that one of several threads has forked, and exit."""
    status: object = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)  # as an exec does
        command.prepare(descriptors)
        command.execute()
        status = 0
    except SystemExit as ended:
        status = ended.code or 0
        if isinstance(status, str):
            sys.stderr.write(f"{status}\n")
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)


def _serve(control: socket.socket) -> Command | None:
    """Fork for each command; return the command in the forked process, and None in this one when nobody asks more."""
    while True:
        size, descriptors, _, _ = socket.recv_fds(control, 4, _MAX_DESCRIPTORS)
        if not size:
            return None
        content = b""
        while len(content) < int.from_bytes(size, "big"):
            content += control.recv(1 << 16)
        command: Command = pickle.loads(content)
        reading, writing = os.pipe()
        between = os.fork()
        if between == 0:
            between = os.getpid()
            if pid := os.fork():
                os.write(writing, pid.to_bytes(4, "big"))
                os._exit(0)
            while os.getppid() == between:  # until it is a child of the process that asked for it
                time.sleep(0.001)
            control.detach()  # `prepare` closes it
            command.prepare(descriptors)
            subprocess.Popen = _ForkingProcess  # type: ignore[misc]
            return command
        os.waitpid(between, 0)
        control.sendall(os.read(reading, 4))
        for each in (reading, writing, *descriptors):
            os.close(each)


def main(descriptor: int, modules: Sequence[str]) -> None:
    """Import the modules and serve; in a forked process, execute its command."""
    for name in modules:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # forked processes share what is loaded by now
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    command = _serve(socket.socket(fileno=descriptor))
    if command is not None:
        command.execute()


if __name__ == "__main__":
    # Commands are pickled as objects of the imported module, not of `__main__`.
    importlib.import_module("tests.support.fork_server").main(int(sys.argv[1]), sys.argv[2:])
