"""The zygote of one slot: forks one training process per attempt and reports its exit to the agent.

The zygote never initialises CUDA, because a forked CUDA context is broken, and starts no thread, because a fork copies
only one. It ends when the agent closes the control socket or dies, and kills the running attempt's process group. Its
caller passes the function that the child processes run, and imports what they share beforehand.
"""

from __future__ import annotations

import gc
import io
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Never

from worker.protocol import Exited, Forked, Message, MessageDecoder, Ready, Start, Terminate, encode
from worker.trial.channel import Channel


def serve(descriptor: int, execute: Callable[[Start, Channel], None], ready: Ready) -> None:
    """Serve the control socket with this descriptor until the agent is gone.

    Args:
        descriptor: The file descriptor of the control socket.
        execute: Called in each forked process, with the attempt's start message and channel.
        ready: The first message to the agent.
    """
    with socket.socket(fileno=descriptor) as control, suppress(ConnectionError):
        Zygote(control, execute).serve(ready)


class Zygote:
    """Runs at most one training process at a time, and watches it together with the control socket."""

    def __init__(self, control: socket.socket, execute: Callable[[Start, Channel], None]) -> None:
        self._control = control
        self._execute = execute
        self._inbox = MessageDecoder()
        self._pid: int | None = None

    def serve(self, ready: Ready) -> None:
        """Fork and supervise training processes until the agent is gone."""
        # The agent decides when this process ends, so only the agent handles a Ctrl-C or a SIGTERM to the whole group.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        woken, wake = os.pipe()
        os.set_blocking(woken, False)
        os.set_blocking(wake, False)
        signal.signal(signal.SIGCHLD, _only_wake)
        signal.set_wakeup_fd(wake)
        gc.freeze()  # objects loaded by now are shared with every child, so exclude them from garbage collection
        self._control.sendall(encode(ready))
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            try:
                while True:
                    readable = {key.fileobj for key, _ in selector.select()}
                    if woken in readable:
                        os.read(woken, 4096)
                        self._reap()
                    if self._control in readable and not self._obey():
                        return
            finally:
                self._terminate()

    def _obey(self) -> bool:
        """Read the control socket once and handle its messages; return False when the agent is gone."""
        data, descriptors, _, _ = socket.recv_fds(self._control, 1 << 16, 1)
        channel = socket.socket(fileno=descriptors[0]) if descriptors else None
        while data and not data.endswith(b"\n"):
            data += (more := self._control.recv(1 << 16))
            if not more:
                return False
        for message in self._inbox.feed(data):
            self._handle(message, channel)
        if channel is not None:
            channel.close()
        return bool(data)

    def _handle(self, message: Message, channel: socket.socket | None) -> None:
        match message:
            case Start() if channel is not None:
                self._fork(message, channel)
            case Terminate():
                self._terminate()
            case _:
                raise AssertionError(f"the agent never sends {message!r} like this")

    def _fork(self, start: Start, channel: socket.socket) -> None:
        pid = os.fork()
        if pid == 0:
            self._become_child(start, channel)
        with suppress(OSError):  # the child makes the same call: whichever comes first creates the group
            os.setpgid(pid, pid)
        self._pid = pid
        self._control.sendall(encode(Forked(pid)))

    def _become_child(self, start: Start, channel: socket.socket) -> Never:
        """Run the attempt in the forked process, with its own process group and output files, then exit."""
        status = 1
        try:
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            self._control.close()
            _redirect(Path(os.devnull), 0, os.O_RDONLY)
            _redirect(Path(start.stdout), 1, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            _redirect(Path(start.stderr), 2, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            if isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(line_buffering=True)  # a killed process cannot flush
            self._execute(start, Channel(channel))
            status = 0
        except BaseException:  # nothing may propagate into the zygote's loop
            traceback.print_exc()
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        if self._pid is None:
            return
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid == 0:
            return
        self._terminate()  # kill processes that the attempt started and left running
        self._pid = None
        self._control.sendall(encode(Exited(os.waitstatus_to_exitcode(status))))

    def _terminate(self) -> None:
        if self._pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)


def _only_wake(signum: int, frame: object) -> None:
    """Do nothing on SIGCHLD: the wakeup descriptor has already woken the loop."""


def _redirect(path: Path, descriptor: int, flags: int) -> None:
    opened = os.open(path, flags, 0o600)
    os.dup2(opened, descriptor)
    os.close(opened)
