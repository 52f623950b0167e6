"""The socket through which scripts of a command task report: forwards their messages to the agent, and orders back."""

from __future__ import annotations

import selectors
import socket
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from worker.protocol import CheckpointSaved, Message, MessageDecoder, Order, Report, VerdictReady, encode
from worker.trial.channel import CONTINUE, Channel
from worker.trial.trial import Trial


class ScriptServer:
    """A server socket, open inside a `with` block; any number of processes may connect."""

    def __init__(self, path: Path, trial: Trial, channel: Channel) -> None:
        self._trial = trial
        self._channel = channel
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._scripts: dict[socket.socket, MessageDecoder] = {}
        self._awaited: dict[socket.socket, int] = {}
        self._order = CONTINUE
        self.was_used = False
        """Whether a script has sent a message; such a script also receives orders."""

    def __enter__(self) -> Self:
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._selector.close()
        for connection in (self._listener, *self._scripts):
            connection.close()

    def forward(self, seconds: float) -> Order:
        """Forward messages in both directions, waiting at most `seconds` for one; return the newest order."""
        for key, _ in self._selector.select(seconds):
            connection = key.fileobj
            if connection is self._listener:
                self._accept()
            elif isinstance(connection, socket.socket):
                self._serve(connection)
        order = self._trial.poll()
        if order != self._order:
            self._order = order
            for connection in self._scripts:
                _send(connection, order)
        for connection, step in list(self._awaited.items()):
            if self._channel.judged_step >= step:
                del self._awaited[connection]
                _send(connection, VerdictReady(step))
        return order

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        self._selector.register(connection, selectors.EVENT_READ)
        self._scripts[connection] = MessageDecoder()
        if self._order != CONTINUE:
            _send(connection, self._order)

    def _serve(self, connection: socket.socket) -> None:
        """Read one script's socket and forward its messages; remove the script if it has disconnected."""
        try:
            data = connection.recv(1 << 16)
        except ConnectionError:
            data = b""
        for message in self._scripts[connection].feed(data):
            self.was_used = True
            match message:
                case Report(step, metrics, is_awaited):
                    self._trial.send_report(step, metrics, is_awaited=is_awaited)
                    if is_awaited:
                        self._awaited[connection] = step
                case CheckpointSaved():
                    self._channel.send_checkpoint(message)
        if not data:
            self._selector.unregister(connection)
            del self._scripts[connection]
            self._awaited.pop(connection, None)
            connection.close()


def _send(connection: socket.socket, message: Message) -> None:
    with suppress(ConnectionError):  # the script has ended just now
        connection.sendall(encode(message))
