"""The training process's end of its channel: reports and the outcome go up, orders come down; no network behind it."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Mapping

from worker.protocol import Advanced, Answered, Checkpointed, Ended, Inbox, Order, Predicted, Provenance, Report, encode

_ADVANCED_SECONDS = 1.0
"""How often at most it is said that training goes on."""

CONTINUE = Order(action="continue", reason="")


def _nobody(step: int, metrics: Mapping[str, float]) -> None:
    """Hears of reports where nobody else does."""


class AgentGone(Exception):
    """The agent closed the channel or died: nobody waits for this attempt any more."""


class Channel:
    """One attempt's socket to the agent."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._inbox = Inbox()
        self._order = CONTINUE
        self._advanced_at = time.monotonic()
        self.answered = -1
        """The step of the last awaited report that the service has judged."""
        self.on_report = _nobody
        """Hears of each report, after the agent."""

    def provenance(self, told: Provenance) -> None:
        """Say what the attempt trains on, before the first report."""
        self._send(encode(told))

    def report(self, step: int, metrics: Mapping[str, float], *, is_awaited: bool = False) -> Order:
        """Send the metrics of one step; the answer is the newest order known now, often one to an earlier step.

        The verdict on a report that `is_awaited` is to be had from `wait`.
        """
        self._send(encode(Report(step=step, metrics=dict(metrics), is_awaited=is_awaited)))
        self.on_report(step, metrics)
        return self.newest_order()

    def wait(self, step: int, seconds: float) -> Order:
        """The newest order once the service has judged the awaited report of `step`, or so many seconds later."""
        deadline = time.monotonic() + seconds
        arrival = select.poll()
        arrival.register(self._connection, select.POLLIN)
        while (order := self.newest_order()).action == CONTINUE.action and self.answered < step:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            arrival.poll(left * 1000)
        return order

    def advanced(self) -> None:
        """Say now and then that training goes on in the middle of a step; to be called as often as one likes."""
        now = time.monotonic()
        if now - self._advanced_at >= _ADVANCED_SECONDS:
            self._advanced_at = now
            self._send(encode(Advanced()))

    def checkpointed(self, saved: Checkpointed) -> None:
        """Say that a checkpoint was saved, after the report of its step."""
        self._send(encode(saved))

    def predicted(self, saved: Predicted) -> None:
        """Say that the predictions of a finished training were saved."""
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
                match message:
                    case Order():
                        self._order = message
                    case Answered(step):
                        self.answered = step

    def end(self, ended: Ended) -> None:
        """Say how the attempt ended."""
        self._send(encode(ended))

    def _send(self, line: bytes) -> None:
        try:
            self._connection.sendall(line)
        except ConnectionError as error:
            raise AgentGone from error
