"""End of an attempt: outcome, lease, trial, and the study if nothing of it is open, all in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from service.contract.attempt import FailureClass, Outcome
from service.contract.report import from_wire
from service.contract.sampler import GridSamplerSpec
from service.contract.study import PauseCause, StudySpec, StudyState
from service.contract.trial import TrialKind, TrialState
from service.domain.budget import BudgetUsage
from service.domain.circuit_breaker import LAST_ATTEMPTS, may_pause, reason_to_pause
from service.domain.error_fingerprint import error_fingerprint
from service.domain.failures import FailureContext, Resolution, resolve
from service.domain.history import History, Series
from service.domain.objective import objective_results, plain_losses_of, tie_break_loss
from service.domain.states import FINISHED_STUDIES, StudyEvent, TrialEvent
from service.search import decide
from service.storage import tables
from service.storage.queries import attempts, budget_usage, series, studies, trials
from service.storage.queries.views import ALIVE_SECONDS
from service.storage.tables import Connection
from service.storage.timestamps import MICROSECONDS
from service.storage.unit_of_work import UnitOfWork
from service.usecases.attempts.late_stop import late_stop
from service.usecases.attempts.preflight_end import end_preflight
from service.usecases.attempts.rungs import pause_or_finish
from service.usecases.context import Context
from service.usecases.fencing import FencedAttempt
from service.usecases.isolation import isolated
from service.usecases.quarantine import record_host_fault
from service.usecases.suggestions import ENDING

_CANCELLED_WHEN_STOPPED = {TrialEvent.PRUNED, TrialEvent.REQUEUED, TrialEvent.PAUSED}
"""When the study is stopped, these events become CANCELLED."""


def end_attempt(unit_of_work: UnitOfWork, spec: StudySpec, fenced: FencedAttempt, outcome: Outcome) -> None:
    """End an attempt with its outcome, and apply the consequences for trial and study."""
    trial, attempt = fenced.trial, fenced.attempt
    resolution = resolve(outcome, _failure_context(unit_of_work, spec, fenced, outcome))
    unit_of_work.advance_attempt(
        trial,
        attempt.number,
        resolution.attempt,
        reason=resolution.reason,
        outcome=outcome.model_dump(mode="json"),
        failure=resolution.failure,
        fault_scope=outcome.scope if resolution.failure is FailureClass.HOST_FAULT else None,
        message=outcome.message or None,
        traceback=outcome.traceback,
        fingerprint=error_fingerprint(outcome) if outcome.has_failed else None,
        ended_at=unit_of_work.now(),
    )
    _drop_lease(unit_of_work, trial.id, attempt.number)
    if trial.kind == TrialKind.PREFLIGHT:
        event = end_preflight(unit_of_work, spec, fenced, outcome, resolution)
    else:
        event = _move_trial(unit_of_work, spec, fenced, outcome, resolution)
    stop_if_done(unit_of_work)
    is_fault = resolution.is_failure or may_pause(resolution.failure) or event is TrialEvent.FAILED
    if is_fault:
        _pause_if_broken(unit_of_work)


def end_attempt_unjudged(unit_of_work: UnitOfWork, fenced: FencedAttempt, outcome: Outcome, reason: str) -> None:
    """End an attempt without judging its outcome, because the study's strategy or data fails.

    The outcome is stored. The trial waits and will continue from its last checkpoint; its end is judged after a user
    has repaired and resumed the study.
    """
    trial, attempt = fenced.trial, fenced.attempt
    resolution = resolve(outcome, FailureContext())
    unit_of_work.advance_attempt(
        trial,
        attempt.number,
        resolution.attempt,
        reason=resolution.reason,
        outcome=outcome.model_dump(mode="json"),
        failure=resolution.failure,
        fault_scope=outcome.scope if resolution.failure is FailureClass.HOST_FAULT else None,
        message=outcome.message or None,
        traceback=outcome.traceback,
        ended_at=unit_of_work.now(),
    )
    _drop_lease(unit_of_work, trial.id, attempt.number)
    event, why, columns = TrialEvent.REQUEUED, f"its outcome is stored but not evaluated: {reason}", {}
    if unit_of_work.study.stop_requested_at is not None:
        event, why, columns = TrialEvent.CANCELLED, "the study was stopped", {"finished_at": unit_of_work.now()}
    columns |= {
        "num_losses": trial.num_losses + resolution.is_loss,
        "num_failures": trial.num_failures + resolution.is_failure,
    }
    unit_of_work.advance_trial(trial, event, attempt=attempt.number, reason=why, **columns)
    stop_if_done(unit_of_work)


def _failure_context(
    unit_of_work: UnitOfWork, spec: StudySpec, fenced: FencedAttempt, outcome: Outcome
) -> FailureContext:
    """Load what an outcome is judged by; an attempt that did not fail needs no queries."""
    if not outcome.has_failed:
        return FailureContext()
    trial, attempt, connection = fenced.trial, fenced.attempt, unit_of_work.connection
    host = attempts.host_of(connection, attempt.worker)
    since = unit_of_work.now() - ALIVE_SECONDS * MICROSECONDS
    return FailureContext(
        num_losses=trial.num_losses,
        num_failures=trial.num_failures,
        retry_failed=_retries(spec),
        host=host,
        progress=attempts.progress_of(connection, attempt),
        past_attempts=attempts.past_attempts(connection, trial.id, before=attempt.number),
        largest_gib=attempts.largest_gpu_gib(connection, since, trial.study_id),
        all_hosts_fail=outcome.failure is FailureClass.HOST_FAULT and record_host_fault(unit_of_work, host, outcome),
    )


def _pause_if_broken(unit_of_work: UnitOfWork) -> None:
    """Pause a study whose failures indicate that its code or its spec is broken."""
    study, connection = unit_of_work.study, unit_of_work.connection
    if study.state != StudyState.ACTIVE or study.stop_requested_at is not None:
        return
    reason = reason_to_pause(
        attempts.ends(connection, study.id, limit=LAST_ATTEMPTS, newest=False),
        attempts.ends(connection, study.id, limit=LAST_ATTEMPTS, newest=True),
    )
    if reason is not None:
        unit_of_work.advance_study(StudyEvent.PAUSED, reason=reason, pause_cause=PauseCause.FAILURES)


def _retries(spec: StudySpec) -> int:
    """Return how often a failed trial is retried; the default is 1 for a grid, which promises every cell, else 0."""
    if spec.retry_failed is not None:
        return spec.retry_failed
    return 1 if isinstance(spec.sampler, GridSamplerSpec) else 0


def _move_trial(
    unit_of_work: UnitOfWork, spec: StudySpec, fenced: FencedAttempt, outcome: Outcome, resolution: Resolution
) -> TrialEvent:
    """Apply the event that follows from the resolution and the trial's final values; return the event."""
    trial = fenced.trial
    event, reason, infeasible = resolution.trial, resolution.reason, resolution.infeasible
    curves, measured = _reported(unit_of_work, spec, trial.id, outcome)
    results = objective_results(spec.objectives, curves, measured)
    if event is TrialEvent.COMPLETED and (missing := [each.metric for each in results if each.last is None]):
        event, reason = TrialEvent.FAILED, _missing_objectives(unit_of_work, trial.id, missing)
    if event is TrialEvent.COMPLETED and (diverged := [each for each in results if each.has_diverged]):
        event, reason = TrialEvent.PRUNED, f"diverged: {diverged[0].metric} ended {diverged[0].last}"
    columns: dict[str, object] = {}
    late = late_stop(unit_of_work, spec, fenced, resolution, results)
    if late is not None and event in {TrialEvent.COMPLETED, TrialEvent.PRUNED}:
        event, reason = late.event, late.reason
    elif event in {TrialEvent.COMPLETED, TrialEvent.PAUSED}:
        event, reason, columns = pause_or_finish(unit_of_work, spec, trial, event, reason)
    if event is TrialEvent.PRUNED and not all(each.is_finite for each in results):
        infeasible = True
    if unit_of_work.study.stop_requested_at is not None and event in _CANCELLED_WHEN_STOPPED:
        event, reason = TrialEvent.CANCELLED, "the study was stopped"
    columns |= {
        "num_losses": trial.num_losses + resolution.is_loss,
        "num_failures": trial.num_failures + resolution.is_failure,
    }
    if event not in {TrialEvent.REQUEUED, TrialEvent.PAUSED}:
        counts = event in {TrialEvent.COMPLETED, TrialEvent.PRUNED} and all(each.value is not None for each in results)
        if counts:
            columns |= {
                "value": results[0].value,
                "values": [each.value for each in results],
                "tie_break_loss": tie_break_loss(spec.primary_objective, curves, measured),
            }
        else:
            # What a failed or cancelled trial reached does not count as its result.
            columns |= {"value": None, "values": None}
        columns |= {
            "infeasible": infeasible,
            "metrics": outcome.model_dump(mode="json")["metrics"],
            "finished_at": unit_of_work.now(),
        }
    unit_of_work.advance_trial(trial, event, attempt=fenced.attempt.number, reason=reason, **columns)
    return event


def _missing_objectives(unit_of_work: UnitOfWork, trial_id: str, missing: list[str]) -> str:
    """Describe which objectives a trial did not report, and what it reported instead."""
    reported = series.metrics_of(unit_of_work.connection, trial_id)
    instead = f"it reported {', '.join(reported)}" if reported else "it reported nothing"
    return f"{' and '.join(missing)} was never reported; {instead}"


def _reported(
    unit_of_work: UnitOfWork, spec: StudySpec, trial_id: str, outcome: Outcome
) -> tuple[dict[str, Series], dict[str, float]]:
    """Return the curves of the objectives and of the losses that break ties, and the metrics in the outcome."""
    metrics = [objective.metric for objective in spec.objectives]
    curves = series.curves(unit_of_work.connection, trial_id, [*metrics, *plain_losses_of(metrics[0])])
    return curves, {name: from_wire(value) for name, value in outcome.metrics.items()}


def _drop_lease(unit_of_work: UnitOfWork, trial_id: str, attempt: int) -> None:
    table = tables.lease
    query = table.delete().where(table.c.trial_id == trial_id, table.c.attempt == attempt)
    unit_of_work.connection.execute(query)


def cancel_unclaimed(unit_of_work: UnitOfWork, reason: str) -> None:
    """Cancel every trial of the study that no worker holds."""
    unclaimed = (TrialState.WAITING, TrialState.PAUSED)
    for trial in trials.in_states(unit_of_work.connection, unit_of_work.study.id, unclaimed):
        unit_of_work.advance_trial(trial, TrialEvent.CANCELLED, reason=reason, finished_at=unit_of_work.now())


def stop_if_done(unit_of_work: UnitOfWork) -> None:
    """Mark the study as stopped if a stop was requested and no trial of it is open."""
    study = unit_of_work.study
    if study.stop_requested_at is None or study.state in FINISHED_STUDIES:
        return
    if not studies.num_open(unit_of_work.connection, study.id):
        reason = study.state_reason or "stopped by request"
        unit_of_work.advance_study(StudyEvent.STOPPED, reason=reason, finished_at=unit_of_work.now())


@dataclass(frozen=True)
class CompletionSnapshot:
    """One consistent snapshot of a study without waiting or running trials, which decides whether it is complete."""

    spec: StudySpec
    history: History
    usage: BudgetUsage
    has_enqueued: bool


async def complete_if_done(context: Context, study_id: str) -> None:
    """Complete the study if no trial of it is open and the sampler will suggest no more.

    This runs outside the transaction that ended the last trial, because the sampler needs the whole history to decide
    whether it has more suggestions. A claim decides the same, so nothing is lost if the service dies in between. If the
    sampler raises an exception, the study is paused.
    """
    await isolated(context, study_id, "conclusion", partial(_complete_if_done, context, study_id))


async def _complete_if_done(context: Context, study_id: str) -> None:
    snapshot = await context.database.read(lambda connection: _completion_snapshot(connection, context, study_id))
    if snapshot is None:
        return
    spec, history = snapshot.spec, snapshot.history
    reason = await context.suggestions.compute(
        study_id,
        (history.epoch, history.revision),
        lambda: decide.completion_reason(history, spec, snapshot.usage, has_enqueued=snapshot.has_enqueued),
        limit_seconds=context.limits.suggest_seconds,
        wait_seconds=context.limits.suggest_seconds,
        of=ENDING,
    )
    if isinstance(reason, str):
        await context.transact(study_id, lambda unit_of_work: complete_study(unit_of_work, spec, history, reason))
        context.histories.forget(study_id)


def _completion_snapshot(connection: Connection, context: Context, study_id: str) -> CompletionSnapshot | None:
    study = studies.by_id(connection, study_id)
    if study.state != StudyState.ACTIVE or studies.num_awaited(connection, study_id):
        return None
    spec = studies.spec(connection, study_id, study.spec_version)
    return CompletionSnapshot(
        spec=spec,
        history=context.histories.latest(connection, study_id, spec.primary_objective.metric),
        usage=budget_usage.budget_usage(connection, study, spec, context.database.dialect.now(connection)),
        has_enqueued=studies.next_enqueued(connection, study_id) is not None,
    )


def complete_study(unit_of_work: UnitOfWork, spec: StudySpec, history: History, reason: str) -> None:
    """Mark the study as completed and its paused trials as not promoted, unless it has changed since `history`."""
    study = unit_of_work.study
    # A history contains only search trials; a fork may still be open.
    if study.revision != history.revision or studies.num_awaited(unit_of_work.connection, study.id):
        return
    for number, value, why in decide.unpromoted(history, spec):
        trial = trials.by_number(unit_of_work.connection, study.id, number)
        assert trial is not None
        unit_of_work.advance_trial(
            trial,
            TrialEvent.NOT_PROMOTED,
            reason=why,
            value=value,
            values=None if value is None else [value],
            finished_at=unit_of_work.now(),
        )
    unit_of_work.advance_study(StudyEvent.COMPLETED, reason=reason, finished_at=unit_of_work.now())
