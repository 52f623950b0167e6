"""One slot: claim a trial, have it carried out, relay what it says, and say how it ended; then the next one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from service.client import Client
from service.client.errors import ApiError, Conflict, NotFound, ServiceFailure, ServiceUnreachable
from service.contract.base import PROTOCOL_VERSION, TaskKind
from service.contract.lease import Capabilities, ClaimRequest, FailureClass, Grant, Nothing, Outcome, Shortage
from service.contract.report import Point, to_wire
from worker.agent.checkpoints import Checkpoints, CheckpointUnavailable
from worker.agent.child import Zygote
from worker.agent.contact import Contact, delays
from worker.agent.devices import LocalDevice, cpu, num_killed_for_memory
from worker.agent.held import Fate, HeldAttempt
from worker.agent.leasekeeper import Leasekeeper
from worker.agent.logs import LogSender
from worker.agent.outbox import Outbox
from worker.agent.sender import Sender
from worker.agent.uploader import Uploader
from worker.agent.watchdog import Watchdog
from worker.agent.worktime import WorkTime
from worker.protocol import Checkpointed, Ended, Exited, Report, Start

log = logging.getLogger(__name__)

_UNKNOWN_STUDY_SECONDS = 5.0
_SEND_SECONDS = 10.0
"""How long a slot waits for its outcome to arrive, so that the next suggestion knows of it, before it claims again."""


class WorkerRefused(Exception):
    """The service will have nothing to do with this worker: wrong token, other protocol. Says so in a sentence."""


@dataclass(frozen=True)
class SlotPlan:
    """One place to carry out trials: its name within the worker, its device and its number of CPU threads."""

    name: str
    device: LocalDevice
    threads: int


@dataclass(frozen=True)
class Surroundings:
    """What all slots of a worker share."""

    client: Client
    worker: str
    host: str
    studies: Sequence[str]
    until_done: bool
    directory: Path
    outbox: Outbox
    sender: Sender
    uploader: Uploader
    checkpoints: Checkpoints
    checkpoint_seconds: float
    leasekeeper: Leasekeeper
    logs: LogSender
    contact: Contact
    stopping: threading.Event
    labels: Mapping[str, str]
    patience_seconds: float
    """How long a training process may always go without a step."""
    work_time: WorkTime


class Slot:
    """Runs in a thread of its own; everything it does to the outside goes through what all slots share."""

    def __init__(self, plan: SlotPlan, shared: Surroundings) -> None:
        self._plan = plan
        self._shared = shared
        self._idle_reason = ""

    def work(self) -> None:
        """Carry out trials until the worker stops or, if it is to work only so long, the studies are done.

        Raises:
            WorkerRefused: the service does not take this worker.
            ZygoteFailed: training processes cannot start on this host.
        """
        while not self._shared.stopping.is_set():
            with ExitStack() as stack:
                zygote = stack.enter_context(
                    Zygote(
                        self._plan.device,
                        self._plan.threads,
                        self._shared.directory / f"zygote-{self._plan.name}.log",
                    )
                )
                zygote.wait_ready()
                if not self._work_with(zygote):
                    return
            log.warning("the zygote of slot %s died; starting another", self._plan.name)

    def _work_with(self, zygote: Zygote) -> bool:
        """Carry out trials as long as the zygote lives; False when there is nothing more to do."""
        while zygote.alive:
            requested_at = time.monotonic()
            match self._claim():
                case Grant() as grant:
                    self._carry_out(grant, requested_at, zygote)
                case Nothing(done=True) if self._shared.until_done:
                    return False
                case Nothing() as nothing:
                    self._idle(nothing)
                case None:
                    return False
        return True

    def _claim(self) -> Grant | Nothing | None:
        """Ask until the service answers; None when the worker stops first, or has no time for another trial."""
        shared = self._shared
        if not shared.work_time.allows_another():
            log.info("slot %s takes no more trials: the worker's time is nearly over", self._plan.name)
            return None
        request = ClaimRequest(
            request_id=shared.outbox.claim_id(self._plan.name),
            worker=shared.worker,
            slot=self._plan.name,
            host=shared.host,
            protocol=PROTOCOL_VERSION,
            capabilities=Capabilities(
                devices=[self._plan.device.device], tasks=[TaskKind.TRAIN], labels=dict(shared.labels)
            ),
            studies=list(shared.studies) or None,
        )
        waits = delays()
        while not shared.stopping.is_set():
            try:
                reply = shared.client.claim(request)
            except (ServiceUnreachable, ServiceFailure):
                shared.contact.lost()
                shared.stopping.wait(next(waits))
            except NotFound as error:
                return Nothing(reason=str(error), retry_seconds=_UNKNOWN_STUDY_SECONDS)
            except Conflict:  # the id was used for another question: by an earlier worker with other settings
                shared.outbox.settle_claim(self._plan.name, None)
                request = request.model_copy(update={"request_id": shared.outbox.claim_id(self._plan.name)})
            except ApiError as error:
                raise WorkerRefused(str(error)) from error
            else:
                shared.contact.made()
                shared.outbox.settle_claim(self._plan.name, reply if isinstance(reply, Grant) else None)
                return reply
        return None

    def _idle(self, nothing: Nothing) -> None:
        if nothing.reason != self._idle_reason:
            log.info("slot %s waits: %s", self._plan.name, nothing.reason)
            self._idle_reason = nothing.reason
        self._shared.stopping.wait(nothing.retry_seconds)

    def _carry_out(self, grant: Grant, requested_at: float, zygote: Zygote) -> None:
        shared = self._shared
        self._idle_reason = ""
        attempt = shared.leasekeeper.hold(grant, requested_at)
        if shared.stopping.is_set():  # the worker was told to stop while it was asking
            attempt.end(Fate.RELEASED, "the worker stops")
        log.info("%s started on %s: %s", _title(grant), self._plan.name, _settings(grant))
        began = time.monotonic()
        outcome = self._relay(attempt, zygote) if attempt.fate is None else None
        outcome = self._conclude(attempt, outcome)
        if outcome is None:
            return
        shared.work_time.note(time.monotonic() - began)
        _log_end(grant, outcome, time.monotonic() - began)
        shared.sender.finish(attempt.key, outcome)
        shared.sender.wait_until_sent(attempt.key, _SEND_SECONDS)

    def _relay(self, attempt: HeldAttempt, zygote: Zygote) -> Outcome | None:
        """Start the training process and pass on what it says; the outcome as it tells it, none if none was started."""
        try:
            start = self._start(attempt)
        except CheckpointUnavailable as unavailable:
            return unavailable.outcome
        if start is None:
            return None
        self._shared.logs.follow(attempt.key, attempt.grant.nonce, stdout=Path(start.stdout), stderr=Path(start.stderr))
        child = zygote.fork(start)
        attempt.attach(child)
        outcome: Outcome | None = None
        num_killed_before = num_killed_for_memory()
        with Watchdog(child.terminate, self._shared.patience_seconds) as watchdog:
            for message in child.messages():
                match message:
                    case Report(step, metrics):
                        watchdog.step()
                        wire = {name: to_wire(value) for name, value in metrics.items()}
                        self._shared.sender.report(attempt.key, Point(step=step, metrics=wire))
                    case Checkpointed() as saved:
                        self._shared.uploader.checkpoint(attempt.key, saved)
                    case Ended(told):
                        outcome = Outcome.model_validate(told)
                    case Exited(status) if outcome is None and watchdog.waited_seconds is not None:
                        outcome = hung_outcome(watchdog.waited_seconds)
                    case Exited(status):
                        is_short = num_killed_for_memory() > num_killed_before
                        outcome = outcome or exit_outcome(status, is_short_of_memory=is_short)
        self._shared.logs.end(attempt.key)
        assert outcome is not None, "the last message is always Exited"
        return outcome

    def _start(self, attempt: HeldAttempt) -> Start | None:
        """What the training process is told; None if the attempt's fate was decided before its checkpoint was here."""
        grant, resume = attempt.grant, None
        if grant.resume is not None:
            resume = self._shared.checkpoints.fetch(grant, grant.resume, lambda: attempt.fate is not None)
            if resume is None:
                return None
        directory = self._shared.directory / "attempts" / grant.trial
        directory.mkdir(parents=True, exist_ok=True)
        return Start(
            grant=grant.model_copy(update={"nonce": ""}).model_dump(mode="json"),
            device=self._plan.device.device.kind,
            threads=self._plan.threads,
            stdout=str(directory / f"{grant.attempt}.out"),
            stderr=str(directory / f"{grant.attempt}.err"),
            checkpoints=str(self._shared.checkpoints.directory_of(grant)),
            checkpoint_seconds=self._shared.checkpoint_seconds,
            resume=None if resume is None else str(resume),
        )

    def _conclude(self, attempt: HeldAttempt, outcome: Outcome | None) -> Outcome | None:
        """What the service is to hear; nothing of an attempt that it wants nothing more of."""
        match attempt.fate:
            case Fate.DROPPED:
                log.warning("%s is dropped: %s", _title(attempt.grant), attempt.reason)
                self._shared.outbox.drop(attempt.key, attempt.reason)
                self._shared.leasekeeper.let_go(attempt)
                return None
            case Fate.RELEASED if outcome is None or _gives_back(attempt, outcome):
                return Outcome(result="released", failure=FailureClass.PREEMPTED, message=attempt.reason)
            case _:
                # A refused report makes the outcome invalid in the outbox, whatever the process said.
                return outcome


def _gives_back(attempt: HeldAttempt, outcome: Outcome) -> bool:
    """Whether a released attempt ended because of that: killed, or paused by us and not by the service."""
    if outcome.result == "paused":
        return not attempt.is_paused
    return outcome.failure is FailureClass.PROCESS_KILLED


def hung_outcome(seconds: float) -> Outcome:
    """The outcome of a training process that was ended because it made no step."""
    message = f"no new step for {seconds:.0f} s; the training process was ended"
    return Outcome(result="failed", failure=FailureClass.HUNG, message=message)


def exit_outcome(status: int, *, is_short_of_memory: bool = False) -> Outcome:
    """The outcome of a training process that exited without telling one; -n means by signal n.

    `is_short_of_memory`: meanwhile the kernel killed processes on this host to regain memory.
    """
    if status == -Signals.SIGKILL and is_short_of_memory:
        return Outcome(
            result="failed",
            failure=FailureClass.OUT_OF_MEMORY,
            message="the training process was killed while the host was out of memory",
            shortage=Shortage(place="host", total_gib=cpu().device.memory_gib),
        )
    if status == -Signals.SIGTERM:
        message = "the training process was asked to end (SIGTERM)"
        return Outcome(result="released", failure=FailureClass.PREEMPTED, message=message)
    if status < 0:
        message = f"the training process was killed by {Signals(-status).name}"
        return Outcome(result="failed", failure=FailureClass.PROCESS_KILLED, message=message)
    message = f"the training process exited with status {status} without an outcome"
    return Outcome(result="failed", failure=FailureClass.USER_EXCEPTION, message=message)


def _title(grant: Grant) -> str:
    name = f"trial {grant.number}" if grant.number is not None else f"trial {grant.trial}"
    return f"{name} of {grant.study_name}" + (f" (attempt {grant.attempt})" if grant.attempt > 1 else "")


def _settings(grant: Grant) -> str:
    values = grant.parameters.items()
    return " ".join(f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in values)


def _log_end(grant: Grant, outcome: Outcome, seconds: float) -> None:
    value = outcome.metrics.get(grant.monitor.metric)
    parts = [f"{grant.monitor.metric} {value:.4g}" if isinstance(value, float) else "", outcome.message]
    said = "; ".join(part for part in parts if part)
    level = logging.WARNING if outcome.result == "failed" else logging.INFO
    how = f"failed ({outcome.failure})" if outcome.result == "failed" else outcome.result
    log.log(level, "%s %s after %.1f s%s", _title(grant), how, seconds, f": {said}" if said else "")
