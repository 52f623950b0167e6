"""Renews the leases of all active attempts with one heartbeat, and applies its reply: orders, and attempts to end.

Lease durations count from the start of the request whose reply contains them, on this host's monotonic clock. The
service's own deadline is therefore never earlier than the one kept here. A lease that expires without renewal does not
stop training: an attempt's results count as long as no newer attempt exists (expired is not superseded).
"""

from __future__ import annotations

import logging
import math
import time

from service.client import Client
from service.client.errors import ApiError, ServiceUnreachable
from service.contract.attempt import HeartbeatRequest, LeaseStatus
from service.contract.claim import Grant
from worker.agent.attempts import ActiveAttempt, ActiveAttempts, AttemptKey, EndReason
from worker.agent.connectivity import ServiceStatus
from worker.agent.threads import BackgroundThread

log = logging.getLogger(__name__)


class Heartbeat(BackgroundThread):
    """A thread that renews the leases of all active attempts, at the interval that the service asks for."""

    def __init__(self, client: Client, worker: str, attempts: ActiveAttempts, service_status: ServiceStatus) -> None:
        super().__init__("heartbeat")
        self._client = client
        self._worker = worker
        self._attempts = attempts
        self._service_status = service_status
        self._interval_seconds: float | None = None

    def start_renewing(self, grant: Grant, requested_at: float) -> ActiveAttempt:
        """Begin to renew the grant's lease; `requested_at` is the monotonic instant at which its claim was sent."""
        attempt = ActiveAttempt(grant, expires_at=requested_at + grant.lease_seconds)
        self._attempts.add(attempt)
        self._set_interval(grant.heartbeat_seconds)
        return attempt

    def stop_renewing(self, attempt: ActiveAttempt) -> None:
        """Stop renewing the lease."""
        self._attempts.discard(attempt.key)

    def _set_interval(self, seconds: float) -> None:
        with self._changed:
            self._interval_seconds = seconds
            self._changed.notify_all()

    def _work(self) -> None:
        while not self._closed:
            if self._interval_passed():
                attempts = self._attempts.all()
                if attempts:
                    self._renew(attempts)

    def _interval_passed(self) -> bool:
        """Wait for one interval; return False early if the interval changes or the thread is closed."""
        with self._changed:
            interval = self._interval_seconds
            return not self._changed.wait_for(lambda: self._closed or self._interval_seconds != interval, interval)

    def _renew(self, attempts: list[ActiveAttempt]) -> None:
        """Send one heartbeat for the attempts and apply its reply."""
        sent_at = time.monotonic()
        try:
            request = HeartbeatRequest(worker=self._worker, leases=[attempt.lease for attempt in attempts])
            reply = self._client.heartbeat(request)
        except ServiceUnreachable:
            self._service_status.down()
            _log_expired(attempts)
            return
        except ApiError as error:
            log.warning("the service refused a heartbeat: %s", error)
            _log_expired(attempts)
            return
        self._service_status.up()
        self._set_interval(reply.heartbeat_seconds)
        by_key = {attempt.key: attempt for attempt in attempts}
        for status in reply.leases:
            attempt = by_key.get(AttemptKey(status.trial, status.attempt))
            if attempt is not None:
                _apply(attempt, status, sent_at)


def _apply(attempt: ActiveAttempt, status: LeaseStatus, sent_at: float) -> None:
    if not status.held:
        # If the attempt's task has already ended, this has no effect: the reply to its outcome decides.
        attempt.end(EndReason.DROPPED, status.reason)
        return
    if status.lease_seconds is not None:
        attempt.expires_at = sent_at + status.lease_seconds
    attempt.order(status.order, status.reason)


def _log_expired(attempts: list[ActiveAttempt]) -> None:
    for attempt in attempts:
        if attempt.expires_at <= time.monotonic():
            log.warning("the lease of trial %s expired before it was renewed; training continues", attempt.grant.trial)
            attempt.expires_at = math.inf  # log it once, until a heartbeat renews the lease
