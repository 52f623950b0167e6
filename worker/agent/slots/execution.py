"""Executes one attempt: fetches checkpoints, runs the training process, forwards its messages, sends the outcome."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path

from service.contract.attempt import FailureClass, Outcome
from service.contract.base import TaskKind
from service.contract.claim import Grant
from service.contract.report import Point, to_wire
from service.contract.task import Function
from worker.agent.agent_context import AgentContext, SlotPlan
from worker.agent.attempts import ActiveAttempt, EndReason
from worker.agent.checkpoints.fetch import CheckpointUnavailable
from worker.agent.checkpoints.local_storage import keep_to_owner
from worker.agent.devices import num_killed_for_memory
from worker.agent.slots.exit_outcomes import exit_outcome, hung_outcome, not_allowed_outcome
from worker.agent.slots.process import Zygote
from worker.agent.slots.watchdog import Watchdog
from worker.protocol import CheckpointSaved, Ended, Exited, PredictionsSaved, Progress, Provenance, Report, Start

log = logging.getLogger(__name__)

_SEND_SECONDS = 10.0
"""How long a slot waits, before its next claim, for its outcome to arrive, so that the next suggestion can use it."""


class Execution:
    """Executes attempts one after the other, in the processes of one zygote."""

    def __init__(self, plan: SlotPlan, shared: AgentContext, zygote: Zygote) -> None:
        self._plan = plan
        self._shared = shared
        self._zygote = zygote

    def carry_out(self, grant: Grant, requested_at: float) -> None:
        """Execute the grant and send its outcome; `requested_at` is the monotonic instant when the claim was sent."""
        shared = self._shared
        attempt = shared.leasekeeper.hold(grant, requested_at)
        if shared.stopping.is_set():  # the worker was stopped during the claim
            attempt.end(EndReason.RELEASED, "the worker stops")
        log.info("%s started on %s: %s", _title(grant), self._plan.name, _settings(grant))
        began = time.monotonic()
        outcome = self._try(attempt) if attempt.fate is None else None
        outcome = self._conclude(attempt, outcome)
        if outcome is None:
            return
        shared.work_time.note(time.monotonic() - began)
        _log_end(grant, outcome, time.monotonic() - began)
        shared.sender.finish(attempt.key, outcome)
        shared.sender.wait_until_sent(attempt.key, _SEND_SECONDS)

    def _try(self, attempt: ActiveAttempt) -> Outcome | None:
        """Execute the attempt if this worker allows it; None if it was ended before its training process started."""
        kind = attempt.grant.task_kind
        if kind not in self._shared.tasks:
            return not_allowed_outcome(kind)
        if kind is TaskKind.FUNCTION:
            function = Function.model_validate(attempt.grant.task)
            if not function.is_in(self._shared.functions):
                return not_allowed_outcome(kind, function.name.partition(":")[0])
        try:
            start = self._start(attempt)
        except CheckpointUnavailable as unavailable:
            return unavailable.outcome
        return None if start is None else self._relay(attempt, start)

    def _relay(self, attempt: ActiveAttempt, start: Start) -> Outcome:
        """Start the training process, forward its messages, and return its outcome."""
        self._shared.logs.follow(attempt.key, attempt.grant.nonce)
        child = self._zygote.fork(start)
        attempt.attach(child)
        outcome: Outcome | None = None
        num_killed_before = num_killed_for_memory()
        # Custom code may take any time to its first step, and some code has only one step.
        is_own = attempt.grant.task_kind is not TaskKind.TRAIN
        with Watchdog(child.terminate, self._shared.patience_seconds, waits_for_first=is_own) as watchdog:
            for message in child.messages():
                match message:
                    case Provenance() as made_from:
                        place = {"device": self._plan.title, **made_from.environment}
                        self._shared.sender.provenance(attempt.key, replace(made_from, environment=place))
                    case Report() as report:
                        watchdog.step()
                        self._report(attempt, report)
                    case Progress():
                        watchdog.advance()
                    case CheckpointSaved() as saved:
                        keep_to_owner(Path(saved.path))
                        self._shared.uploader.checkpoint(attempt.key, saved)
                        self._shared.fit_disk()
                    case PredictionsSaved() as saved_predictions:
                        keep_to_owner(Path(saved_predictions.path))
                        self._shared.predictions.keep(attempt.key, saved_predictions)
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

    def _report(self, attempt: ActiveAttempt, report: Report) -> None:
        if report.is_awaited:
            attempt.awaits(report.step)
        wire = {name: to_wire(value) for name, value in report.metrics.items()}
        point = Point(step=report.step, metrics=wire)
        self._shared.sender.report(attempt.key, point, is_awaited=report.is_awaited)

    def _start(self, attempt: ActiveAttempt) -> Start | None:
        """Return the message that starts the training process; None if the attempt ended during the downloads."""
        grant, resume, teacher = attempt.grant, None, None
        if grant.resume is not None:
            resume = self._shared.checkpoints.fetch(grant, grant.resume, lambda: attempt.fate is not None)
            if resume is None:
                return None
        if grant.teacher is not None:
            teacher = self._shared.checkpoints.fetch_teacher(grant, grant.teacher, lambda: attempt.fate is not None)
            if teacher is None:
                return None
            self._shared.fit_disk()
        stdout, stderr = self._shared.disk.printed_by(attempt.key)
        return Start(
            grant=grant.model_copy(update={"nonce": ""}).model_dump(mode="json"),
            device=self._plan.kind,
            threads=self._plan.threads,
            stdout=str(stdout),
            stderr=str(stderr),
            checkpoints=str(self._shared.disk.folder_of(attempt.key)),
            checkpoint_seconds=self._shared.checkpoint_seconds,
            resume=None if resume is None else str(resume),
            teacher=None if teacher is None else str(teacher),
            tensorboard=None if self._shared.tensorboard is None else str(self._shared.tensorboard),
            num_devices=len(self._plan.devices),
            readable=None if self._shared.readable is None else [str(folder) for folder in self._shared.readable],
        )

    def _conclude(self, attempt: ActiveAttempt, outcome: Outcome | None) -> Outcome | None:
        """Return the outcome to send; None if the attempt was dropped, so that the service wants no outcome."""
        match attempt.fate:
            case EndReason.DROPPED:
                log.warning("%s is dropped: %s", _title(attempt.grant), attempt.reason)
                self._shared.outbox.drop(attempt.key, attempt.reason)
                self._shared.leasekeeper.let_go(attempt)
                return None
            case EndReason.RELEASED if outcome is None or _gives_back(attempt, outcome):
                return Outcome(result="released", failure=FailureClass.PREEMPTED, message=attempt.reason)
            case _:
                # After a refused report, the outbox replaces the process's outcome by the refusal.
                return outcome


def _gives_back(attempt: ActiveAttempt, outcome: Outcome) -> bool:
    """Return whether a released attempt ended because of the release: killed, or paused by the worker itself."""
    if outcome.result == "paused":
        return not attempt.is_paused
    return outcome.failure is FailureClass.PROCESS_KILLED


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
