"""The agent's side of a slot's zygote and training processes: start, messages, termination and exit.

The zygote is the parent of the training processes. It alone knows when one has been reaped, so it also kills them. The
agent signals an orphaned process group directly only if the zygote itself has died.
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
from worker.agent.slots.environment import passed_environment
from worker.protocol import (
    UNREGISTERED,
    CheckpointSaved,
    Ended,
    Exited,
    Forked,
    Message,
    MessageDecoder,
    Order,
    PredictionsSaved,
    Progress,
    Provenance,
    Ready,
    Report,
    Start,
    Terminate,
    VerdictReady,
    encode,
)

ZYGOTE = "worker.trial"
"""The module that a zygote process runs."""

ChildMessage: TypeAlias = Provenance | Report | Progress | CheckpointSaved | PredictionsSaved | Ended
"""A message that a training process sends."""

_CLOSE_SECONDS = 5.0


class ZygoteFailed(Exception):
    """The zygote did not start; the message quotes the last line of its log."""


class RegistrationRefused(ZygoteFailed):
    """The custom modules cannot be registered; the message says why in one sentence."""


class _Control:
    """The agent's end of a zygote's control socket; permanently broken once the zygote has died."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.broken = False
        self._inbox = MessageDecoder()

    def receive(self) -> list[Message]:
        """Return the next messages, in order; an empty list means that the zygote is gone."""
        while data := _receive(self.connection):
            if messages := self._inbox.feed(data):
                return messages
        self.broken = True
        return []


class Zygote:
    """A slot's zygote process, pinned to its devices by `CUDA_VISIBLE_DEVICES`; it runs one attempt at a time."""

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
        """Start the zygote process.

        Args:
            devices: Devices of one kind: GPUs, or the processor once for each process that shares it.
            threads: The number of CPU threads.
            log_path: The file to which the zygote's own output is appended.
            environment: The environment from which the training processes' environment is taken.
            modules: Custom modules that add entries to the training core.
            pass_env: Variables of `environment` that training processes see beside the default ones.
            umask: The umask of the training processes; None: that of this process.
        """
        self._log_path = log_path
        ours, theirs = socket.socketpair()
        self._control = _Control(ours)
        with theirs, log_path.open("ab") as log_file:
            self._process = subprocess.Popen(  # noqa: S603 - runs this interpreter with our own module
                [sys.executable, "-m", ZYGOTE, str(theirs.fileno()), devices[0].device.kind, *modules],
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=log_file,
                pass_fds=[theirs.fileno()],
                env=_training_environment(environment, pass_env, visible(devices), threads),
                umask=-1 if umask is None else umask,
                start_new_session=True,  # only the agent handles a Ctrl-C in its terminal
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the control socket, so that the zygote ends, together with its running attempt."""
        self._control.connection.close()
        try:
            self._process.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """The zygote's process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether another attempt can start."""
        return not self._control.broken and self._process.poll() is None

    def wait_ready(self) -> Ready:
        """Wait until the zygote has imported everything.

        Raises:
            RegistrationRefused: The custom modules cannot be registered.
            ZygoteFailed: The zygote cannot start for another reason.
        """
        match self._control.receive():
            case [Ready() as ready]:
                return ready
        status = self._process.wait()
        lines = self._log_path.read_text(errors="replace").strip().splitlines()
        cause = lines[-1] if lines else f"exit status {status}"
        if status == UNREGISTERED:
            raise RegistrationRefused(f"{cause} (full log: {self._log_path})")
        raise ZygoteFailed(f"training processes cannot start on this host: {cause} (full log: {self._log_path})")

    def fork(self, start: Start) -> Child:
        """Start an attempt; if the zygote dies right away, the returned process has already exited by SIGKILL."""
        ours, theirs = socket.socketpair()
        line = encode(start)
        with theirs, suppress(ConnectionError):
            sent = socket.send_fds(self._control.connection, [line], [theirs.fileno()])
            self._control.connection.sendall(line[sent:])
        return Child(self._control, ours, self._control.receive())


class Child:
    """One attempt's training process."""

    def __init__(self, control: _Control, channel: socket.socket, answer: list[Message]) -> None:
        """Attach to the process.

        `answer` is what the zygote sent after the start: `Forked` and perhaps `Exited`, or nothing if the zygote died.
        """
        self._control = control
        self._channel = channel
        self._inbox = MessageDecoder()
        self._lock = threading.Lock()
        self._exited: Exited | None = None
        self.pid: int | None = None
        self._receive_control(answer)

    def order(self, action: Action, reason: str) -> None:
        """Send the process an order, which it follows from its next step on."""
        with self._lock, suppress(OSError):  # the process may have exited just now
            if self._exited is None:
                self._channel.sendall(encode(Order(action=action, reason=reason)))

    def send_verdict_ready(self, step: int) -> None:
        """Tell the process that the service has judged the report of `step`."""
        with self._lock, suppress(OSError):
            if self._exited is None:
                self._channel.sendall(encode(VerdictReady(step)))

    def terminate(self) -> None:
        """Kill the whole process group now; `messages` then ends."""
        with self._lock, suppress(OSError):
            if self._exited is None:
                self._control.connection.sendall(encode(Terminate()))

    def messages(self) -> Iterator[ChildMessage | Exited]:
        """Yield the process's messages as they arrive, and finally `Exited`, even if the process sent no message."""
        with self._channel, selectors.DefaultSelector() as selector:
            selector.register(self._control.connection, selectors.EVENT_READ)
            selector.register(self._channel, selectors.EVENT_READ)
            while self._exited is None:
                ready = {key.fileobj for key, _ in selector.select()}
                if self._channel in ready:
                    data = _receive(self._channel)
                    if not data:
                        selector.unregister(self._channel)
                    yield from self._decode(data)
                if self._control.connection in ready:
                    self._receive_control(self._control.receive())
            # The last messages may have arrived at the same time as the exit.
            self._channel.setblocking(False)
            with suppress(BlockingIOError):
                while data := _receive(self._channel):
                    yield from self._decode(data)
        yield self._exited

    def _decode(self, data: bytes) -> Iterator[ChildMessage]:
        for message in self._inbox.feed(data):
            if isinstance(message, ChildMessage):
                yield message

    def _receive_control(self, messages: list[Message]) -> None:
        """Process messages from the zygote; kill the process if the zygote died, since nothing else supervises it."""
        exited: Exited | None = None
        for message in messages:
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
    """Return the bytes that have arrived; none if the other end is gone, for whatever reason."""
    try:
        return connection.recv(1 << 16)
    except ConnectionError:
        return b""


def _training_environment(
    environment: Mapping[str, str], pass_env: Sequence[str], visible_gpus: str, threads: int
) -> dict[str, str]:
    """Return the environment of training processes: allowed variables, the slot's devices and thread count."""
    slot = {"CUDA_VISIBLE_DEVICES": visible_gpus, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    return passed_environment(environment, pass_env) | slot
