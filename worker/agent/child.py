"""The zygote of one slot and its training processes as the agent sees them: start, messages, termination, exit.

The zygote is the processes' parent and alone knows when one has been reaped, so it does the killing too; only when
the zygote itself has died does the agent signal the orphaned process group directly.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from service.contract.report import Action
from worker.agent.devices import LocalDevice, visible
from worker.agent.environment import passed_environment
from worker.protocol import (
    UNREGISTERED,
    Advanced,
    Answered,
    Checkpointed,
    Ended,
    Exited,
    Forked,
    Inbox,
    Message,
    Order,
    Predicted,
    Provenance,
    Ready,
    Report,
    Start,
    Terminate,
    encode,
)

ZYGOTE = "worker.trial"
"""The module that a zygote process executes."""

Said: TypeAlias = Provenance | Report | Advanced | Checkpointed | Predicted | Ended
"""What a training process says itself."""

_CLOSE_SECONDS = 5.0


class ZygoteFailed(Exception):
    """The zygote did not come up; says why in the words of its own last line."""


class RegistrationRefused(ZygoteFailed):
    """The modules that this worker was told to register add nothing that works; says why in one sentence."""


class _Control:
    """The agent's end of a zygote's control socket; broken for good once the zygote has died."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.broken = False
        self._inbox = Inbox()

    def receive(self) -> list[Message]:
        """The next messages, in order; none only when the zygote is gone."""
        while data := _receive(self.connection):
            if messages := self._inbox.feed(data):
                return messages
        self.broken = True
        return []


class Zygote:
    """One slot's zygote process, pinned to its devices by `CUDA_VISIBLE_DEVICES`; carries out one attempt at a time."""

    def __init__(
        self,
        devices: Sequence[LocalDevice],
        threads: int,
        log_path: Path,
        environment: Mapping[str, str] = os.environ,
        *,
        modules: Sequence[str] = (),
        pass_env: Sequence[str] = (),
        umask: int | None = None,
    ) -> None:
        """The devices are of one kind: GPUs, or the processor once for each process that shares it.

        `modules` of the user's own add to what can be trained. `pass_env` names variables of the `environment` that
        training processes see beside the usual ones; `umask` is theirs, None: this process's own.
        """
        self._log_path = log_path
        ours, theirs = socket.socketpair()
        self._control = _Control(ours)
        with theirs, log_path.open("ab") as log_file:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter and a module of ours
                [sys.executable, "-m", ZYGOTE, str(theirs.fileno()), devices[0].device.kind, *modules],
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=log_file,
                pass_fds=[theirs.fileno()],
                env=_training_environment(environment, pass_env, visible(devices), threads),
                umask=-1 if umask is None else umask,
                start_new_session=True,  # a Ctrl-C in the agent's terminal is the agent's to answer
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the control socket: the zygote ends, and what it has running with it."""
        self._control.connection.close()
        try:
            self._process.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """The zygote's own process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether another attempt can be started."""
        return not self._control.broken and self._process.poll() is None

    def wait_ready(self) -> Ready:
        """Wait until everything is imported.

        Raises:
            RegistrationRefused: the modules of the user's own cannot be registered.
            ZygoteFailed: anything else is in the way.
        """
        match self._control.receive():
            case [Ready() as ready]:
                return ready
        status = self._process.wait()
        lines = self._log_path.read_text(errors="replace").strip().splitlines()
        why = lines[-1] if lines else f"exit status {status}"
        if status == UNREGISTERED:
            raise RegistrationRefused(f"{why} (all of it: {self._log_path})")
        raise ZygoteFailed(f"training processes cannot start here: {why} (all of it: {self._log_path})")

    def fork(self, start: Start) -> Child:
        """Start an attempt; one whose zygote dies right away has exited at once by SIGKILL."""
        ours, theirs = socket.socketpair()
        line = encode(start)
        with theirs, suppress(ConnectionError):
            sent = socket.send_fds(self._control.connection, [line], [theirs.fileno()])
            self._control.connection.sendall(line[sent:])
        return Child(self._control, ours, self._control.receive())


class Child:
    """One attempt's training process."""

    def __init__(self, control: _Control, channel: socket.socket, told: list[Message]) -> None:
        """`told` is the zygote's answer to the start: `Forked`, perhaps the exit too, nothing from a dead zygote."""
        self._control = control
        self._channel = channel
        self._inbox = Inbox()
        self._lock = threading.Lock()
        self._exited: Exited | None = None
        self.pid: int | None = None
        self._hear(told)

    def order(self, action: Action, reason: str) -> None:
        """Tell the process what to do from its next step on."""
        with self._lock, suppress(OSError):  # it may have exited this instant
            if self._exited is None:
                self._channel.sendall(encode(Order(action=action, reason=reason)))

    def answered(self, step: int) -> None:
        """Tell the process that the service has judged the report of `step`."""
        with self._lock, suppress(OSError):
            if self._exited is None:
                self._channel.sendall(encode(Answered(step)))

    def terminate(self) -> None:
        """End the whole process group now; `messages` then comes to its end."""
        with self._lock, suppress(OSError):
            if self._exited is None:
                self._control.connection.sendall(encode(Terminate()))

    def messages(self) -> Iterator[Said | Exited]:
        """What the process says, as it says it, and last how it exited, even if it dies without a word."""
        with self._channel, selectors.DefaultSelector() as selector:
            selector.register(self._control.connection, selectors.EVENT_READ)
            selector.register(self._channel, selectors.EVENT_READ)
            while self._exited is None:
                ready = {key.fileobj for key, _ in selector.select()}
                if self._channel in ready:
                    data = _receive(self._channel)
                    if not data:
                        selector.unregister(self._channel)
                    yield from self._said(data)
                if self._control.connection in ready:
                    self._hear(self._control.receive())
            # Its last words may have come together with its death.
            self._channel.setblocking(False)
            with suppress(BlockingIOError):
                while data := _receive(self._channel):
                    yield from self._said(data)
        yield self._exited

    def _said(self, data: bytes) -> Iterator[Said]:
        for message in self._inbox.feed(data):
            if isinstance(message, Said):
                yield message

    def _hear(self, told: list[Message]) -> None:
        """Take in what the zygote says; without it nobody watches the process, so that has to end too."""
        exited: Exited | None = None
        for message in told:
            match message:
                case Forked(pid):
                    self.pid = pid
                case Exited():
                    exited = message
        if self._control.broken:
            if self.pid is not None:
                with suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
            exited = Exited(-signal.SIGKILL)
        with self._lock:
            self._exited = exited


def _receive(connection: socket.socket) -> bytes:
    """Bytes that have come; none when the other end is gone, however it went."""
    try:
        return connection.recv(1 << 16)
    except ConnectionError:
        return b""


def _training_environment(
    environment: Mapping[str, str], pass_env: Sequence[str], visible_gpus: str, threads: int
) -> dict[str, str]:
    """What of the agent's environment training processes may see, with the slot's devices and threads."""
    number = str(threads)
    ours = {"CUDA_VISIBLE_DEVICES": visible_gpus, "OMP_NUM_THREADS": number, "MKL_NUM_THREADS": number}
    return passed_environment(environment, pass_env) | ours
