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
from worker.agent.agent_context import AgentContext
from worker.agent.agent_settings import SlotPlan
from worker.agent.attempts import ActiveAttempt, EndReason
from worker.agent.checkpoints.fetch import CheckpointUnavailable
from worker.agent.checkpoints.local_storage import make_private
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

    def __init__(self, plan: SlotPlan, context: AgentContext, zygote: Zygote) -> None:
        self._plan = plan
        self._context = context
        self._zygote = zygote

    def execute(self, grant: Grant, requested_at: float) -> None:
        """Execute the grant and send its outcome; `requested_at` is the monotonic instant when the claim was sent."""
        service, lifetime = self._context.service, self._context.lifetime
        attempt = service.heartbeat.start_renewing(grant, requested_at)
        if lifetime.stopping.is_set():  # the worker was stopped during the claim
            attempt.end(EndReason.RELEASED, "the worker was stopped")
        log.info("%s started on %s: %s", _title(grant), self._plan.name, _settings(grant))
        began = time.monotonic()
        outcome = self._execute_if_allowed(attempt) if attempt.end_reason is None else None
        outcome = self._outcome_to_send(attempt, outcome)
        if outcome is None:
            return
        lifetime.time_limit.record_duration(time.monotonic() - began)
        _log_end(grant, outcome, time.monotonic() - began)
        service.sender.add_outcome(attempt.key, outcome)
        service.sender.wait_until_sent(attempt.key, _SEND_SECONDS)

    def _execute_if_allowed(self, attempt: ActiveAttempt) -> Outcome | None:
        """Execute the attempt if this worker allows it; None if it was ended before its training process started."""
        kind = attempt.grant.task_kind
        if kind not in self._context.work.tasks:
            return not_allowed_outcome(kind)
        if kind is TaskKind.FUNCTION:
            function = Function.model_validate(attempt.grant.task)
            if not function.is_in(self._context.work.functions):
                return not_allowed_outcome(kind, function.name.partition(":")[0])
        try:
            start = self._start(attempt)
        except CheckpointUnavailable as unavailable:
            return unavailable.outcome
        return None if start is None else self._run(attempt, start)

    def _run(self, attempt: ActiveAttempt, start: Start) -> Outcome:
        """Start the training process, forward its messages, and return its outcome."""
        self._context.uploads.logs.follow(attempt.key, attempt.grant.nonce)
        child = self._zygote.fork(start)
        attempt.attach(child)
        outcome: Outcome | None = None
        num_killed_before = num_killed_for_memory()
        # Custom code may take any time to its first step, and some code has only one step.
        is_custom = attempt.grant.task_kind is not TaskKind.TRAIN
        patience_seconds = self._context.processes.patience_seconds
        with Watchdog(child.terminate, patience_seconds, waits_for_first=is_custom) as watchdog:
            for message in child.messages():
                match message:
                    case Provenance() as provenance:
                        environment = {"device": self._plan.title, **provenance.environment}
                        provenance = replace(provenance, environment=environment)
                        self._context.service.sender.add_provenance(attempt.key, provenance)
                    case Report() as report:
                        watchdog.step()
                        self._report(attempt, report)
                    case Progress():
                        watchdog.advance()
                    case CheckpointSaved() as saved:
                        make_private(Path(saved.path))
                        self._context.uploads.checkpoints.add(attempt.key, saved)
                        self._context.storage.fit_to_budget()
                    case PredictionsSaved() as saved_predictions:
                        make_private(Path(saved_predictions.path))
                        self._context.uploads.predictions.add(attempt.key, saved_predictions)
                    case Ended(fields):
                        outcome = Outcome.model_validate(fields)
                    case Exited(status) if outcome is None and watchdog.waited_seconds is not None:
                        outcome = hung_outcome(watchdog.waited_seconds)
                    case Exited(status):
                        is_short = num_killed_for_memory() > num_killed_before
                        outcome = outcome or exit_outcome(status, is_short_of_memory=is_short)
        self._context.uploads.logs.end(attempt.key)
        assert outcome is not None, "the last message is always Exited"
        return outcome

    def _report(self, attempt: ActiveAttempt, report: Report) -> None:
        if report.is_awaited:
            attempt.await_verdict(report.step)
        wire = {name: to_wire(value) for name, value in report.metrics.items()}
        point = Point(step=report.step, metrics=wire)
        self._context.service.sender.add_report(attempt.key, point, is_awaited=report.is_awaited)

    def _start(self, attempt: ActiveAttempt) -> Start | None:
        """Return the message that starts the training process; None if the attempt ended during the downloads."""
        grant, resume, teacher = attempt.grant, None, None
        storage, processes = self._context.storage, self._context.processes

        def has_ended() -> bool:
            return attempt.end_reason is not None

        if grant.resume is not None:
            resume = storage.checkpoints.fetch(grant, grant.resume, has_ended)
            if resume is None:
                return None
        if grant.teacher is not None:
            teacher = storage.checkpoints.fetch_teacher(grant, grant.teacher, has_ended)
            if teacher is None:
                return None
            storage.fit_to_budget()
        stdout, stderr = storage.attempts.output_files(attempt.key)
        return Start(
            grant=grant.model_copy(update={"nonce": ""}).model_dump(mode="json"),
            device=self._plan.kind,
            threads=self._plan.threads,
            stdout=str(stdout),
            stderr=str(stderr),
            checkpoints=str(storage.attempts.checkpoint_folder(attempt.key)),
            checkpoint_seconds=processes.checkpoint_seconds,
            resume=None if resume is None else str(resume),
            teacher=None if teacher is None else str(teacher),
            tensorboard=None if processes.tensorboard is None else str(processes.tensorboard),
            num_devices=len(self._plan.devices),
            readable=None if processes.readable is None else [str(folder) for folder in processes.readable],
        )

    def _outcome_to_send(self, attempt: ActiveAttempt, outcome: Outcome | None) -> Outcome | None:
        """Return the outcome to send; None if the attempt was dropped, and the service accepts no outcome of it."""
        match attempt.end_reason:
            case EndReason.DROPPED:
                log.warning("%s was dropped: %s", _title(attempt.grant), attempt.reason)
                self._context.service.outbox.drop(attempt.key, attempt.reason)
                self._context.service.heartbeat.stop_renewing(attempt)
                return None
            case EndReason.RELEASED if outcome is None or _ended_by_release(attempt, outcome):
                return Outcome(result="released", failure=FailureClass.PREEMPTED, message=attempt.reason)
            case _:
                # After a refused report, the outbox replaces the process's outcome by the refusal.
                return outcome


def _ended_by_release(attempt: ActiveAttempt, outcome: Outcome) -> bool:
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
    details = "; ".join(part for part in parts if part)
    level = logging.WARNING if outcome.result == "failed" else logging.INFO
    result = f"failed ({outcome.failure})" if outcome.result == "failed" else outcome.result
    log.log(level, "%s %s after %.1f s%s", _title(grant), result, seconds, f": {details}" if details else "")
