"""The training process's end of its channel to the agent: sends reports and the outcome, receives orders."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Mapping

from worker.protocol import (
    CheckpointSaved,
    Ended,
    MessageDecoder,
    Order,
    PredictionsSaved,
    Progress,
    Provenance,
    Report,
    VerdictReady,
    encode,
)

_PROGRESS_SECONDS = 1.0
"""The shortest time between two messages that training makes progress."""

CONTINUE = Order(action="continue", reason="")


def _ignore(step: int, metrics: Mapping[str, float]) -> None:
    """Ignore a report; the default of `Channel.on_report`."""


class AgentGone(Exception):
    """The agent closed the channel or died, so nothing needs this attempt any more."""


class Channel:
    """The socket between one attempt's training process and the agent."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._inbox = MessageDecoder()
        self._order = CONTINUE
        self._progress_sent_at = time.monotonic()
        self.judged_step = -1
        """The step of the last awaited report that the service has judged."""
        self.on_report = _ignore
        """Called with each report, after it is sent to the agent."""

    def send_provenance(self, provenance: Provenance) -> None:
        """Send the attempt's provenance, before the first report."""
        self._send(encode(provenance))

    def report(self, step: int, metrics: Mapping[str, float], *, is_awaited: bool = False) -> Order:
        """Send the metrics of one step.

        To wait for the verdict on a report that `is_awaited`, call `wait`.

        Returns:
            The newest order received so far, often one that answers an earlier step.
        """
        self._send(encode(Report(step=step, metrics=dict(metrics), is_awaited=is_awaited)))
        self.on_report(step, metrics)
        return self.newest_order()

    def wait(self, step: int, seconds: float) -> Order:
        """Wait until the service has judged the awaited report of `step`, or until the time is over.

        Args:
            step: The step of the awaited report.
            seconds: The longest time to wait.

        Returns:
            The newest order, at once if it is not to continue.
        """
        deadline = time.monotonic() + seconds
        arrival = select.poll()
        arrival.register(self._connection, select.POLLIN)
        while (order := self.newest_order()).action == CONTINUE.action and self.judged_step < step:
            seconds_left = deadline - time.monotonic()
            if seconds_left <= 0:
                break
            arrival.poll(seconds_left * 1000)
        return order

    def send_progress(self) -> None:
        """Send that training makes progress within a step, at most once a second; may be called at any rate."""
        now = time.monotonic()
        if now - self._progress_sent_at >= _PROGRESS_SECONDS:
            self._progress_sent_at = now
            self._send(encode(Progress()))

    def send_checkpoint(self, saved: CheckpointSaved) -> None:
        """Send that a checkpoint was saved, after the report of its step."""
        self._send(encode(saved))

    def send_predictions(self, saved: PredictionsSaved) -> None:
        """Send that the predictions of a finished training were saved."""
        self._send(encode(saved))

    def newest_order(self) -> Order:
        """Return the last order that has arrived, without waiting.

        Raises:
            AgentGone: The agent closed the channel or died.
        """
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
                    case VerdictReady(step):
                        self.judged_step = step

    def send_outcome(self, ended: Ended) -> None:
        """Send how the attempt ended."""
        self._send(encode(ended))

    def _send(self, line: bytes) -> None:
        try:
            self._connection.sendall(line)
        except ConnectionError as error:
            raise AgentGone from error
