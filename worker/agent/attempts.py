"""The active attempts of this host and why each was ended from outside; shared by all threads."""

from __future__ import annotations

import threading
from enum import StrEnum
from typing import NamedTuple, Protocol

from service.contract.attempt import HeldLease
from service.contract.claim import Grant
from service.contract.report import Action


class AttemptKey(NamedTuple):
    """Identifies an attempt: the trial's id and the attempt's number."""

    trial: str
    attempt: int


class EndReason(StrEnum):
    """Why an attempt is ended from outside, before its task ends by itself."""

    DROPPED = "dropped"
    """Another attempt superseded it, or the service no longer knows it: nothing is sent for it."""
    REFUSED = "refused"
    """The service permanently refuses one of its reports or its data: the attempt fails with that reason."""
    RELEASED = "released"
    """The worker stops: the trial goes back to the service, at no cost to its retries."""


class Process(Protocol):
    """The messages that the agent can send to an attempt's training process."""

    def order(self, action: Action, reason: str) -> None: ...

    def send_verdict_ready(self, step: int) -> None: ...

    def terminate(self) -> None: ...


class ActiveAttempt:
    """One attempt: its grant, its training process once it has started, and why it was ended from outside, if it was.

    `expires_at` is the instant on this host's monotonic clock at which the lease ends unless it is renewed.
    """

    def __init__(self, grant: Grant, expires_at: float) -> None:
        self.grant = grant
        self.expires_at = expires_at
        self.key = AttemptKey(grant.trial, grant.attempt)
        self.lease = HeldLease(trial=grant.trial, attempt=grant.attempt, nonce=grant.nonce)
        self.end_reason: EndReason | None = None
        self.reason = ""
        self._lock = threading.RLock()  # reentrant: a signal handler may stop the agent in a thread that holds the lock
        self._process: Process | None = None
        self._action = Action.CONTINUE
        self._awaited_step: int | None = None

    def attach(self, process: Process) -> None:
        """Set the training process; terminate it if the attempt was already ended."""
        with self._lock:
            self._process = process
            if self.end_reason is not None:
                process.terminate()

    def order(self, action: Action, reason: str) -> None:
        """Forward the service's order if it differs from the last one; the training process obeys at its next step."""
        with self._lock:
            if action is not self._action and self._process is not None:
                self._action = action
                self._process.order(action, reason)

    def await_verdict(self, step: int) -> None:
        """Record that the training process waits for the verdict on its report of `step`."""
        with self._lock:
            self._awaited_step = step

    def send_verdict_ready(self, step: int) -> None:
        """Notify the training process that the report of `step` is judged, if the process waits for that."""
        with self._lock:
            if self._process is not None and self._awaited_step is not None and self._awaited_step <= step:
                self._awaited_step = None
                self._process.send_verdict_ready(step)

    def release(self, reason: str, within_seconds: float) -> None:
        """Give the attempt back.

        Its process saves a checkpoint and ends at its next step, or is killed after `within_seconds`.
        """
        with self._lock:
            if self.end_reason is not None:
                return
            if self._process is None:
                self.end(EndReason.RELEASED, reason)
                return
            self.end_reason, self.reason = EndReason.RELEASED, reason
            self._process.order(Action.PAUSE, reason)
            timer = threading.Timer(within_seconds, self._process.terminate)
            timer.daemon = True
            timer.start()

    @property
    def is_paused(self) -> bool:
        """Whether the service's last order is to pause."""
        return self._action is Action.PAUSE

    def end(self, end_reason: EndReason, reason: str) -> None:
        """End the attempt and terminate its process; only the first reason counts."""
        with self._lock:
            if self.end_reason is None:
                self.end_reason, self.reason = end_reason, reason
                if self._process is not None:
                    self._process.terminate()


class ActiveAttempts:
    """All attempts whose leases this host renews: from the grant until the service has received their outcome."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # reentrant for the same reason as the lock of an attempt
        self._attempts: dict[AttemptKey, ActiveAttempt] = {}

    def add(self, attempt: ActiveAttempt) -> None:
        with self._lock:
            self._attempts[attempt.key] = attempt

    def discard(self, key: AttemptKey) -> None:
        with self._lock:
            self._attempts.pop(key, None)

    def get(self, key: AttemptKey) -> ActiveAttempt | None:
        with self._lock:
            return self._attempts.get(key)

    def all(self) -> list[ActiveAttempt]:
        with self._lock:
            return list(self._attempts.values())
