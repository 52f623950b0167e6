"""Runs trials from the user's own program: claim a trial, report metrics, end it, and renew its lease meanwhile.

For notebooks and programs that do the training themselves. Calls wait for a service that is unavailable for a while.
Each of them can be repeated without effect, so no report or outcome is lost or counted twice.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Literal, Self, TypeVar

from service.client.endpoints import Endpoints
from service.client.errors import ClientError, LeaseLost, SearchFailed, ServiceFailure, ServiceUnreachable
from service.contract.attempt import FailureClass, FinishReply, FinishRequest, HeartbeatRequest, HeldLease, Outcome
from service.contract.base import TaskKind, Value
from service.contract.capabilities import Capabilities
from service.contract.claim import ClaimRequest, Grant
from service.contract.report import Action, Point, ReportRequest, Verdict, to_wire
from service.contract.study import PauseCause

MAX_MESSAGE = 2_000
MAX_TRACEBACK = 20_000
"""The largest number of characters sent about a failure: the beginning of the message, the end of the traceback."""

RETRY_SECONDS = 600.0
"""How long a call waits for an unavailable service before the error reaches the caller."""

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")


class OpenTrial:
    """A trial whose lease this process has.

    As a context manager it ends the trial: as succeeded when the block ends, as failed (with the traceback) when the
    block raises an exception, and as released when the block is interrupted. If another attempt took the trial over,
    the trial is dropped and the program continues.
    """

    def __init__(self, endpoints: Endpoints, worker: str, grant: Grant) -> None:
        self._endpoints = endpoints
        self._worker = worker
        self._sequence = 0
        self._order = Verdict(action=Action.CONTINUE, reason="", step=0)
        self._ended = threading.Event()
        self.grant = grant
        threading.Thread(target=self._keep_lease, name=f"lease of trial {self.number}", daemon=True).start()

    @property
    def number(self) -> int | None:
        """The trial's number in the study, from 0."""
        return self.grant.number

    @property
    def parameters(self) -> dict[str, Value]:
        """The suggested parameters."""
        return self.grant.parameters

    @property
    def seed(self) -> int:
        """The seed for all random numbers of this trial."""
        return self.grant.seed

    @property
    def run_until(self) -> int | None:
        """The absolute step to train to for now. None: until training ends by itself."""
        return self.grant.run_until

    @property
    def should_stop(self) -> bool:
        """Whether the newest verdict or an order of the service says to end now."""
        return self._order.action is not Action.CONTINUE

    @property
    def ended(self) -> bool:
        """Whether the trial was finished, released or dropped."""
        return self._ended.is_set()

    def report(self, step: int, metrics: Mapping[str, float]) -> Verdict:
        """Report the metrics of one step and return the verdict. Steps must not decrease.

        Raises:
            LeaseLost: another attempt has the trial. Drop it.
            Conflict: the step decreased, or was reported before with other values.
        """
        point = Point(step=step, metrics={name: to_wire(value) for name, value in metrics.items()})
        request = ReportRequest(nonce=self.grant.nonce, sequence=self._sequence + 1, points=[point])
        verdict = _retrying(lambda: self._endpoints.report(self.grant.trial, self.grant.attempt, request))
        self._sequence += 1
        if verdict.action is not Action.CONTINUE or not self.should_stop:
            self._order = verdict
        return verdict

    def finish(self, metrics: Mapping[str, float] | None = None) -> FinishReply:
        """Finish the trial, with final metrics if any.

        The outcome is pruned or paused if the last verdict says so, otherwise succeeded.
        """
        results: dict[Action, Literal["succeeded", "paused", "pruned"]]
        results = {Action.CONTINUE: "succeeded", Action.PAUSE: "paused", Action.STOP: "pruned"}
        final = {name: to_wire(value) for name, value in (metrics or {}).items()}
        return self._finish(Outcome(result=results[self._order.action], message=self._order.reason, metrics=final))

    def fail(self, message: str, failure: FailureClass = FailureClass.USER_EXCEPTION, details: str = "") -> FinishReply:
        """Finish the trial as failed. `details` is a traceback or a similar text."""
        cut, last = message[:MAX_MESSAGE], details[-MAX_TRACEBACK:]  # the service accepts no body above 1 MiB
        return self._finish(Outcome(result="failed", failure=failure, message=cut, traceback=last or None))

    def release(self) -> FinishReply:
        """Release the trial without charge, so that another worker continues it.

        Tried only once, because a caller that releases a trial is about to exit.
        """
        outcome = Outcome(result="released", failure=FailureClass.PREEMPTED, message="released by its caller")
        request = FinishRequest(nonce=self.grant.nonce, outcome=outcome)
        reply = self._endpoints.finish(self.grant.trial, self.grant.attempt, request)
        self._ended.set()
        return reply

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self.ended:
            return False
        if isinstance(error, LeaseLost):
            return self._dropped(error)
        try:
            if error is None:
                self.finish()
            elif isinstance(error, Exception):
                self.fail(f"{type(error).__name__}: {error}", details="".join(traceback.format_exception(error)))
            else:
                self.release()
        except LeaseLost as lost:
            return self._dropped(lost) and error is None
        except ClientError:
            if error is None:
                raise
            log.warning("trial %s could not be ended at the service", self.number)
        finally:
            self._ended.set()
        return False

    def _dropped(self, error: LeaseLost) -> bool:
        log.warning("trial %s dropped: %s", self.number, error)
        self._ended.set()
        return True

    def _finish(self, outcome: Outcome) -> FinishReply:
        request = FinishRequest(nonce=self.grant.nonce, outcome=outcome)
        reply = _retrying(lambda: self._endpoints.finish(self.grant.trial, self.grant.attempt, request))
        self._ended.set()
        return reply

    def _keep_lease(self) -> None:
        lease = HeldLease(trial=self.grant.trial, attempt=self.grant.attempt, nonce=self.grant.nonce)
        request = HeartbeatRequest(worker=self._worker, leases=[lease])
        while not self._ended.wait(self.grant.heartbeat_seconds):
            try:
                (status,) = self._endpoints.heartbeat(request).leases
            except ClientError as error:
                if self._endpoints.closed:
                    return
                log.info("the lease of trial %s was not renewed: %s", self.number, error)
                continue
            if not status.held or status.order is not Action.CONTINUE:
                order = status.order if status.held else Action.STOP
                self._order = Verdict(action=order, reason=status.reason, step=0)


def _retrying(call: Callable[[], Answer]) -> Answer:
    """Retry a call until the service answers or RETRY_SECONDS have passed. The call must be safe to repeat."""
    give_up_at = time.monotonic() + RETRY_SECONDS
    delay = 0.2
    while True:
        try:
            return call()
        except (ServiceUnreachable, ServiceFailure) as error:
            if time.monotonic() + delay > give_up_at:
                raise
            log.info("trying again: %s", error)
        time.sleep(delay)
        delay = min(2 * delay, 10.0)


def worker_name() -> str:
    """Return a unique worker name for this process."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", f"client-{uuid.uuid4().hex[:6]}-{os.getpid()}-{socket.gethostname()}")[:64]


def open_trial(endpoints: Endpoints, worker: str, study: str) -> OpenTrial | None:
    """Claim a trial, and wait while there is none. Return None if the study is done. See Client.open_trial.

    Raises:
        SearchFailed: the study is paused for its failures, so waiting would not bring a trial.
    """
    endpoints.study(study)  # fail now, instead of after a long wait, if the study is unknown or the service is down
    tasks = list(TaskKind)
    while True:
        request = ClaimRequest(
            request_id=uuid.uuid4().hex,
            worker=worker,
            host=socket.gethostname(),
            capabilities=Capabilities(tasks=tasks),
            studies=[study],
        )
        reply = _retrying(partial(endpoints.claim, request))
        if isinstance(reply, Grant):
            return OpenTrial(endpoints, worker, reply)
        if reply.done:
            return None
        view = _retrying(partial(endpoints.study, study))
        if view.pause_cause is PauseCause.FAILURES:
            raise SearchFailed(
                f"{view.name} is paused: {view.state_reason}; correct it, then: study resume {view.name}"
            )
        time.sleep(reply.retry_seconds)
