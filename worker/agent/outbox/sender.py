"""Sends the outbox to the service from a background thread, in order per attempt, and forwards the verdicts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

from service.client import Client
from service.client.errors import ApiError, LeaseLost, NotFound, PermanentFailure, ServiceFailure, Unauthorized
from service.contract.attempt import FailureClass, FaultScope, FinishReply, FinishRequest, Outcome
from service.contract.problem import ErrorCode
from service.contract.provenance import ProvenanceRequest
from service.contract.report import Point, ReportRequest, Verdict
from worker.agent.attempts import ActiveAttempts, AttemptKey, EndReason
from worker.agent.connectivity import ServiceStatus, backoff
from worker.agent.outbox.outbox import Entry, Outbox
from worker.agent.threads import SenderThread
from worker.protocol import Provenance

log = logging.getLogger(__name__)

_DROP_ERRORS = (LeaseLost, NotFound, PermanentFailure)
"""Errors after which the service accepts no more messages of the attempt."""


class Sender(SenderThread):
    """Sends provenance, reports and outcomes; other threads add to the outbox and never wait for the network."""

    def __init__(
        self,
        client: Client,
        outbox: Outbox,
        attempts: ActiveAttempts,
        service_status: ServiceStatus,
        on_finished: Callable[[AttemptKey, FinishReply], None] = lambda _key, _reply: None,
    ) -> None:
        """Set up the thread; `on_finished` is called with the service's reply to each outcome."""
        super().__init__("sender", service_status)
        self._client = client
        self._outbox = outbox
        self._attempts = attempts
        self._on_finished = on_finished
        self._backoff: dict[AttemptKey, tuple[float, Iterator[float]]] = {}

    def add_provenance(self, key: AttemptKey, provenance: Provenance) -> None:
        """Store the attempt's provenance, to be sent before its reports."""
        if self._outbox.add_provenance(key, provenance):
            self.wake()

    def add_report(self, key: AttemptKey, point: Point, *, is_awaited: bool = False) -> None:
        """Store one step's metrics, to be sent soon, perhaps batched with the next ones; at once if `is_awaited`."""
        if self._outbox.add_point(key, point, at_once=is_awaited):
            self.wake()

    def add_outcome(self, key: AttemptKey, outcome: Outcome) -> None:
        """Store how the attempt ended, to be sent after its reports."""
        if self._outbox.add_outcome(key, outcome):
            self.wake()

    def wait_until_sent(self, key: AttemptKey | None, timeout_seconds: float) -> bool:
        """Wait until nothing of the attempt, or of any attempt for None, is left to send; return False on timeout."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._outbox.is_empty() if key is None else not self._outbox.has_messages(key), timeout_seconds
            )

    def _send_next(self) -> float | None:
        seconds_to_report = self._outbox.write_due_reports()
        if self._send_due():
            return 0.0
        now = time.monotonic()
        waits = [max(0.0, retry_at - now) for retry_at, _ in self._backoff.values()]
        return min(waits if seconds_to_report is None else [*waits, seconds_to_report], default=None)

    def _send_due(self) -> bool:
        """Send the oldest entry of each attempt that is not in backoff; return whether there was one."""
        now = time.monotonic()
        due = [entry for entry in self._outbox.pending() if self._backoff.get(entry.key, (now,))[0] <= now]
        for entry in due:
            if self._closed:
                break
            self._send(entry)
            with self._changed:
                self._changed.notify_all()
        return bool(due)

    def _send(self, entry: Entry) -> None:
        trial, attempt = entry.key
        try:
            match entry.request:
                case ProvenanceRequest() as request:
                    self._client.provenance(trial, attempt, request)
                case ReportRequest() as request:
                    verdict = self._client.report(trial, attempt, request)
                    self._forward_verdict(entry.key, verdict, request.points[-1].step)
                case FinishRequest() as request:
                    self._on_finished(entry.key, self._client.finish(trial, attempt, request))
        except (ServiceFailure, Unauthorized) as error:  # Unauthorized is retried: a token change must not cost results
            self._try_later(entry.key, error)
            return
        except ApiError as error:
            self._give_up(entry, error)
            return
        self._service_status.up()
        self._backoff.pop(entry.key, None)
        self._outbox.acknowledge(entry)
        if isinstance(entry.request, FinishRequest):
            self._attempts.discard(entry.key)

    def _forward_verdict(self, key: AttemptKey, verdict: Verdict, step: int) -> None:
        attempt = self._attempts.get(key)
        if attempt is not None:
            attempt.order(verdict.action, verdict.reason)
            attempt.send_verdict_ready(step)

    def _try_later(self, key: AttemptKey, error: ApiError) -> None:
        _, waits = self._backoff.get(key, (0.0, backoff()))
        self._backoff[key] = (time.monotonic() + next(waits), waits)
        log.warning("the service failed to store a message of trial %s; the worker retries: %s", key.trial, error)

    def _give_up(self, entry: Entry, error: ApiError) -> None:
        """Handle an entry that the service will never accept, depending on what it refused and why."""
        key, reason = entry.key, str(error)
        self._backoff.pop(key, None)
        if isinstance(entry.request, ReportRequest) and not isinstance(error, _DROP_ERRORS):
            log.error("the service refused a report of trial %s: %s", key.trial, reason)
            self._refuse(key, FailureClass.INVALID, f"the service refused a report: {reason}")
            return
        if isinstance(entry.request, ProvenanceRequest) and not isinstance(error, _DROP_ERRORS):
            log.error("the service refused the provenance of trial %s: %s", key.trial, reason)
            if error.code is ErrorCode.DATA_DIFFERS:
                self._refuse(key, FailureClass.HOST_FAULT, reason, scope="study")
            else:
                self._outbox.dead_letter(entry.id, reason)
            return
        self._drop(key, reason)

    def _drop(self, key: AttemptKey, reason: str) -> None:
        """Send nothing more of the attempt; its unsent entries stay in the outbox, set aside."""
        attempt = self._attempts.get(key)
        self._backoff.pop(key, None)
        log.warning("trial %s was dropped: %s", key.trial, reason)
        self._outbox.drop(key, reason)
        self._attempts.discard(key)
        if attempt is not None:
            attempt.end(EndReason.DROPPED, reason)

    def _refuse(self, key: AttemptKey, failure: FailureClass, message: str, *, scope: FaultScope = "host") -> None:
        """End the attempt as failed, whatever outcome its process sends."""
        self._outbox.refuse(key, Outcome(result="failed", failure=failure, scope=scope, message=message))
        if (attempt := self._attempts.get(key)) is not None:
            attempt.end(EndReason.REFUSED, message)
