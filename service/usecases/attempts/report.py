"""Handles reports: stores a worker's metric values and returns a verdict; a repeated report gets the stored one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

from service.contract.problem import ErrorCode
from service.contract.report import Action, Point, ReportRequest, Verdict, from_wire
from service.contract.study import StudySpec
from service.contract.trial import TrialKind
from service.domain.errors import DomainError
from service.domain.history import History
from service.search import decide
from service.storage import tables
from service.storage.queries import series, studies
from service.storage.tables import Connection, Row
from service.storage.unit_of_work import UnitOfWork
from service.usecases.attempts.rungs import record_rung_results
from service.usecases.context import Context
from service.usecases.fencing import FencedAttempt, ensure_attached, find_attempt, trial_of
from service.usecases.isolation import StudyFault, attempt_to, guarded, transact_isolated
from service.usecases.suggestions import VERDICT, Late


async def report(context: Context, trial_id: str, attempt: int, request: ReportRequest) -> Verdict:
    """Store a batch of values with its verdict.

    Raises:
        DomainError: The lease is superseded or has ended; batches are out of order; steps decrease; or a step has
            another value already.
    """
    snapshot = await context.database.read(lambda connection: _load_snapshot(connection, context, trial_id))
    study_id = snapshot.study_id
    judged = await attempt_to(study_id, "report", partial(_judge, context, snapshot, request))

    def work(unit_of_work: UnitOfWork, fault: StudyFault | None) -> Verdict:
        fenced = find_attempt(unit_of_work, trial_id, attempt, request.nonce)
        if request.sequence <= fenced.attempt.num_reports:
            return _replayed(unit_of_work, fenced, request)
        fenced = ensure_attached(unit_of_work, fenced, lease_seconds=context.limits.lease_seconds)
        store_points(unit_of_work, fenced, request)
        if fault is not None or isinstance(judged, StudyFault):
            answer, revision = _unjudged(request, _FAILED), unit_of_work.study.revision
        elif isinstance(judged, Late):
            answer, revision = _unjudged(request, judged.reason), unit_of_work.study.revision
        else:
            answer, revision = judged.verdict, judged.history.revision
            arrived = record_rung_results(unit_of_work, judged.spec, judged.history, fenced.trial.id, attempt)
            if arrived is not None:
                # If the trial reached a rung, the verdict must be based on the rank that was stored with it.
                answer, revision = decide.judge(arrived, judged.spec, fenced.trial.number), arrived.revision
        if unit_of_work.study.stop_requested_at is not None:
            answer = Verdict(action=Action.STOP, reason="the study was stopped", step=answer.step)
        _store_verdict(unit_of_work, fenced, request.sequence, answer, revision)
        return answer

    fault = judged if isinstance(judged, StudyFault) else None
    return await transact_isolated(context, study_id, "report", work, fault)


_FAILED = "the study's strategy or data failed, and the study is paused"


@dataclass(frozen=True)
class ReportSnapshot:
    """One consistent snapshot of the study, which a report is judged by."""

    study_id: str
    trial: Row
    known: tuple[StudySpec, History] | StudyFault


@dataclass(frozen=True)
class Judgement:
    """A verdict with the spec and history that it is based on."""

    spec: StudySpec
    history: History
    verdict: Verdict


def _load_snapshot(connection: Connection, context: Context, trial_id: str) -> ReportSnapshot:
    trial = trial_of(connection, trial_id)

    def read() -> tuple[StudySpec, History]:
        study = studies.by_id(connection, trial.study_id)
        spec = studies.spec(connection, study.id, study.spec_version)
        return spec, context.histories.latest(connection, study.id, spec.primary_objective.metric)

    return ReportSnapshot(trial.study_id, trial, guarded(trial.study_id, "report", read))


async def _judge(context: Context, snapshot: ReportSnapshot, request: ReportRequest) -> Judgement | Late | StudyFault:
    """Compute the verdict from the history plus this batch: pure, outside any transaction, and with a time limit."""
    if isinstance(snapshot.known, StudyFault):
        return snapshot.known
    (spec, history), trial = snapshot.known, snapshot.trial
    return await context.suggestions.compute(
        snapshot.study_id,
        (trial.id, request.nonce, request.sequence),
        lambda: Judgement(spec, history, _verdict(spec, history, trial, request.points)),
        limit_seconds=context.limits.suggest_seconds,
        wait_seconds=context.limits.suggest_seconds,
        of=VERDICT,
    )


def _unjudged(request: ReportRequest, why: str) -> Verdict:
    return Verdict(
        action=Action.CONTINUE,
        reason=f"the pruner did not judge this report: {why}; the trial continues",
        step=request.points[-1].step,
    )


def _verdict(spec: StudySpec, history: History, trial: Row, points: list[Point]) -> Verdict:
    """Judge the steps one by one, so that the verdict does not depend on how a worker batches its steps."""
    step = points[-1].step
    known = {
        point.step: from_wire(point.metrics[spec.primary_objective.metric])
        for point in points
        if _has_objective(spec, point)
    }
    if not known:
        return Verdict(action=Action.CONTINUE, reason=f"no new value of {spec.primary_objective.metric}", step=step)
    if trial.kind != TrialKind.SEARCH:
        return _verdict_beside_the_search(spec, known, step)
    last_known = history.trials[trial.number].last_step
    verdict = None
    for at, value in known.items():
        if last_known is None or at > last_known:
            history = history.with_value(trial.number, at, value)
            verdict = decide.judge(history, spec, trial.number)
            if verdict.action is not Action.CONTINUE:
                break
    return verdict or decide.judge(history, spec, trial.number)


def _verdict_beside_the_search(spec: StudySpec, known: dict[int, float], step: int) -> Verdict:
    for at, value in known.items():
        if not math.isfinite(value):
            reason = f"diverged: {spec.primary_objective.metric} is {value} at step {at}"
            return Verdict(action=Action.STOP, reason=reason, step=step)
    return Verdict(
        action=Action.CONTINUE, reason="the trial is not part of the search, so no pruner judges it", step=step
    )


def _has_objective(spec: StudySpec, point: Point) -> bool:
    return spec.primary_objective.metric in point.metrics


def _replayed(unit_of_work: UnitOfWork, fenced: FencedAttempt, request: ReportRequest) -> Verdict:
    _reject_conflicts(unit_of_work, fenced, request)
    stored = series.verdict_of(unit_of_work.connection, fenced.trial.id, fenced.attempt.number, request.sequence)
    if stored is None:
        reason = "these values came with a checkpoint; the pruner judges the next report"
        return Verdict(action=Action.CONTINUE, reason=reason, step=request.points[-1].step)
    return Verdict(action=Action(stored.action), reason=stored.reason, step=stored.step)


def store_points(unit_of_work: UnitOfWork, fenced: FencedAttempt, request: ReportRequest) -> None:
    """Add a batch to an attempt's values, once.

    Raises:
        DomainError: A batch before this one is missing; steps decrease; or a value differs from the stored one.
    """
    attempt = fenced.attempt
    if request.sequence != attempt.num_reports + 1:
        raise DomainError(
            ErrorCode.REPORT_ORDER,
            f"report {request.sequence} came before report {attempt.num_reports + 1}; "
            "send an attempt's reports in order",
        )
    last = attempt.last_step if attempt.last_step is not None else -1
    for point in request.points:
        if attempt.resume_step is not None and point.step <= attempt.resume_step:
            raise DomainError(
                ErrorCode.REPORT_ORDER,
                f"step {point.step} is known from an earlier attempt, as this one began with the checkpoint of step "
                f"{attempt.resume_step}; resume from it, and report what comes after",
            )
        if point.step < last:
            raise DomainError(
                ErrorCode.REPORT_ORDER,
                f"step {point.step} came after step {last}; the steps of an attempt never fall",
            )
        last = point.step
    stored = _reject_conflicts(unit_of_work, fenced, request)
    rows = [
        {
            "trial_id": fenced.trial.id,
            "attempt": attempt.number,
            "metric": metric,
            "step": point.step,
            "value": value if isinstance(value, float) else None,
            "status": None if isinstance(value, float) else value.status,
            "sequence": request.sequence,
            "reported_at": unit_of_work.now(),
            "revision": unit_of_work.revision,
        }
        for point in request.points
        for metric, value in point.metrics.items()
        if (metric, point.step) not in stored
    ]
    if rows:
        unit_of_work.connection.execute(tables.report.insert(), rows)
    unit_of_work.set_attempt(fenced.trial.id, attempt.number, num_reports=request.sequence, last_step=last)
    unit_of_work.set_trial(fenced.trial.id, last_step=last)


def _reject_conflicts(unit_of_work: UnitOfWork, fenced: FencedAttempt, request: ReportRequest) -> set[tuple[str, int]]:
    """Return the batch's (metric, step) pairs that are stored already; raise if a value differs from the stored one."""
    reported: dict[tuple[str, int], str] = {}
    for point in request.points:
        for metric, value in point.metrics.items():
            text = _canonical(from_wire(value))
            if reported.setdefault((metric, point.step), text) != text:
                raise _conflict(metric, point.step, reported[metric, point.step], text)
    steps = [point.step for point in request.points]
    stored: set[tuple[str, int]] = set()
    for row in series.reported(unit_of_work.connection, fenced.trial.id, fenced.attempt.number, steps):
        text = _canonical(float(row.status) if row.value is None else row.value)
        if (row.metric, row.step) in reported:
            if reported[row.metric, row.step] != text:
                raise _conflict(row.metric, row.step, text, reported[row.metric, row.step])
            stored.add((row.metric, row.step))
    return stored


def _canonical(value: float) -> str:
    """Return a value in canonical form: NaN equals NaN, and -0.0 equals 0.0, because SQLite stores it as 0.0."""
    return repr(value + 0.0)


def _conflict(metric: str, step: int, stored: str, given: str) -> DomainError:
    return DomainError(
        ErrorCode.REPORT_CONFLICT,
        f"{metric} at step {step} is already {stored}, now {given} was sent; a step of an attempt has one value",
    )


def _store_verdict(
    unit_of_work: UnitOfWork, fenced: FencedAttempt, sequence: int, verdict: Verdict, judged: int
) -> None:
    unit_of_work.insert(
        tables.verdict,
        trial_id=fenced.trial.id,
        attempt=fenced.attempt.number,
        sequence=sequence,
        step=verdict.step,
        action=verdict.action,
        reason=verdict.reason,
        history_revision=judged,
        decided_at=unit_of_work.now(),
        revision=unit_of_work.revision,
    )
    if verdict.action is not Action.CONTINUE:
        unit_of_work.record(
            f"verdict_{verdict.action}",
            trial=fenced.trial,
            attempt=fenced.attempt.number,
            data={"step": verdict.step, "reason": verdict.reason},
        )
