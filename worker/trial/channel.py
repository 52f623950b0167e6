"""The training process's end of its channel: reports and the outcome go up, orders come down; no network behind it."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from worker.protocol import Checkpointed, Ended, Inbox, Order, Provenance, Report, encode

CONTINUE = Order(action="continue", reason="")


class AgentGone(Exception):
    """The agent closed the channel or died: nobody waits for this attempt any more."""


class Channel:
    """One attempt's socket to the agent."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._inbox = Inbox()
        self._order = CONTINUE

    def provenance(self, told: Provenance) -> None:
        """Say what the attempt trains on, before the first report."""
        self._send(encode(told))

    def report(self, step: int, metrics: Mapping[str, float]) -> Order:
        """Send the metrics of one step; the answer is the newest order known now, often one to an earlier step."""
        self._send(encode(Report(step=step, metrics=dict(metrics))))
        return self.newest_order()

    def checkpointed(self, saved: Checkpointed) -> None:
        """Say that a checkpoint was saved, after the report of its step."""
        self._send(encode(saved))

    def newest_order(self) -> Order:
        """The last order that has arrived, without waiting for another."""
        while True:
            try:
                data = self._connection.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return self._order
            except ConnectionError as error:
                raise AgentGone from error
            if not data:
                raise AgentGone
            for message in self._inbox.feed(data):
                if isinstance(message, Order):
                    self._order = message

    def end(self, ended: Ended) -> None:
        """Say how the attempt ended."""
        self._send(encode(ended))

    def _send(self, line: bytes) -> None:
        try:
            self._connection.sendall(line)
        except ConnectionError as error:
            raise AgentGone from error
