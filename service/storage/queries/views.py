"""Converts rows into API messages; each function that reads a row raises DamagedRowError if it is damaged."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from service.contract.attempt import FailureClass
from service.contract.base import DamagedRow
from service.contract.capabilities import Capabilities
from service.contract.preflight_view import PreflightSummary
from service.contract.report import Action, Number, Verdict, to_wire
from service.contract.study import (
    BudgetUsed,
    Event,
    EventList,
    PauseCause,
    ReferenceValue,
    StudySpec,
    StudyState,
    StudyView,
)
from service.contract.trial import AttemptState, AttemptView, Series, TrialDetail, TrialKind, TrialState, TrialView
from service.contract.worker import HostExclusion, WorkerList, WorkerView
from service.domain.budget import SECONDS_PER_HOUR
from service.domain.errors import DamagedRowError
from service.domain.states import OPEN_TRIALS
from service.domain.tally import Tally
from service.storage.damage import reading, split_damaged
from service.storage.queries import budget_usage, exclusions, leases, preflights, series, trials
from service.storage.tables import Connection, Row
from service.storage.timestamps import MICROSECONDS, to_datetime

MOST_DAMAGED = 100
"""Maximum number of best trials to examine for one that can be read."""

ALIVE_SECONDS = 60
"""A worker that was silent for longer counts as gone."""


def study_view(connection: Connection, row: Row, spec: StudySpec, tally: Tally, now: int) -> StudyView:
    """Return a study with its counts, its best trial or Pareto front, and its budget usage by `now`."""
    with reading(f"study {row.name}", row):
        return _study_view(connection, row, spec, tally, now)


def _study_view(connection: Connection, row: Row, spec: StudySpec, tally: Tally, now: int) -> StudyView:
    best, front, improved_at = None, None, None
    preflight = _preflight_summary(connection, row)
    if len(spec.objectives) == 1:
        best = best_trial(connection, row.id, spec)
        improved_at = None if best is None else (best.finished_at, best.number)
    else:
        on_front = [tally.facts_of(trial_id) for trial_id in tally.front]
        front = [each.number for each in on_front]
        improved_at = max((each.end for each in on_front if each.end is not None), default=None)
    return StudyView(
        id=row.id,
        project=row.project,
        name=row.name,
        state=StudyState(row.state),
        state_reason=row.state_reason,
        pause_cause=PauseCause(row.pause_cause) if row.state == StudyState.PAUSED and row.pause_cause else None,
        notice=row.notice,
        stop_requested=row.stop_requested_at is not None,
        revision=row.revision,
        spec_version=row.spec_version,
        spec=spec,
        num_trials=dict(tally.num_trials),
        budget_used=BudgetUsed(
            trials=row.next_number,
            **_time_used(row, tally, now),
            resource=tally.num_steps,
            failures=tally.num_trials.get(TrialState.FAILED, 0),
            since_improvement=0 if improved_at is None else tally.num_ended_after(improved_at),
        ),
        best=trial_view(best) if best else None,
        pareto_front=front,
        references=_measured_references(connection, row, spec, preflight),
        preflight=preflight,
        created_at=to_datetime(row.created_at),
        finished_at=to_datetime(row.finished_at),
    )


def _preflight_summary(connection: Connection, study: Row) -> PreflightSummary | None:
    """Return the line about the study's newest preflight; None if it has none."""
    trial = preflights.newest(connection, study.id)
    if trial is None:
        return None
    return PreflightSummary(
        state=TrialState(trial.state),
        state_reason=trial.state_reason,
        holds_back=trial.state in OPEN_TRIALS and study.next_number == 0,
    )


def _measured_references(
    connection: Connection, study: Row, spec: StudySpec, preflight: PreflightSummary | None
) -> list[ReferenceValue]:
    """Return what the baselines of the study's preflight reach in its first objective."""
    if preflight is None:
        return []
    metric = spec.primary_objective.metric
    return [
        ReferenceValue(name=baseline.name, kind="baseline", value=value, note=baseline.note)
        for baseline in preflights.baselines(connection, study.id)
        if (value := baseline.metrics.get(metric)) is not None
    ]


def at(view: StudyView, row: Row, tally: Tally, now: int) -> StudyView:
    """Update a study's view to another instant of the same revision: only its hours change with time alone."""
    if row.active_since is None and not tally.has_running:
        return view
    used = view.budget_used.model_copy(update=_time_used(row, tally, now))
    return view.model_copy(update={"budget_used": used})


def _time_used(row: Row, tally: Tally, now: int) -> dict[str, float]:
    return {
        "hours": budget_usage.active_seconds(row, now) / SECONDS_PER_HOUR,
        "device_hours": tally.device_microseconds(now) / MICROSECONDS / SECONDS_PER_HOUR,
    }


def best_trial(connection: Connection, study_id: str, spec: StudySpec) -> Row | None:
    """Return the completed search trial with the best value among those that can be read."""
    for num in (1, MOST_DAMAGED):
        for row in trials.best_of(connection, study_id, spec, num):
            with contextlib.suppress(DamagedRowError):
                trial_view(row)
                return row
    return None


def trial_views(rows: Iterable[Row]) -> tuple[list[TrialView], list[DamagedRow]]:
    """Return trials for lists, and the damaged ones separately."""
    return split_damaged(rows, trial_view, lambda row: row.id if row.number is None else row.number)


def trial_view(row: Row) -> TrialView:
    """Return a trial for lists."""
    with reading(trials.title(row), row):
        return _trial_view(row)


def _trial_view(row: Row) -> TrialView:
    return TrialView(
        id=row.id,
        number=row.number,
        kind=TrialKind(row.kind),
        state=TrialState(row.state),
        parameters=row.parameters,
        values=row._mapping["values"],  # noqa: SLF001 - the documented way to get a column named like a method
        infeasible=row.infeasible,
        suggestion_reason=row.suggestion_reason,
        state_reason=row.state_reason,
        stage=row.stage,
        parent_id=row.parent_id,
        parent_step=row.parent_step,
        step=row.last_step,
        run_until=row.run_until,
        rung_results=row.rung_results,
        num_attempts=row.num_attempts,
        metrics=row.metrics,
        created_at=to_datetime(row.created_at),
        started_at=to_datetime(row.started_at),
        finished_at=to_datetime(row.finished_at),
        revision=row.revision,
    )


def trial_detail(connection: Connection, row: Row) -> TrialDetail:
    """Return everything that is stored about one trial; the caller adds its configuration."""
    with reading(trials.title(row), row):
        return _trial_detail(connection, row)


def _trial_detail(connection: Connection, row: Row) -> TrialDetail:
    points: dict[str, tuple[list[int], list[Number]]] = {}
    for point in series.canonical(connection, [row.id]):
        steps, values = points.setdefault(point.metric, ([], []))
        steps.append(point.step)
        values.append(to_wire(series.value_of(point)))
    attempts = trials.attempts(connection, row.id)
    return TrialDetail(
        **trial_view(row).model_dump(),
        attempts=[_attempt(attempt) for attempt in attempts],
        series=[Series(metric=metric, steps=steps, values=values) for metric, (steps, values) in points.items()],
        verdicts=[
            Verdict(action=Action(verdict.action), reason=verdict.reason, step=verdict.step)
            for verdict in series.verdicts(connection, row.id)
        ],
        confusion=(attempts[-1].outcome or {}).get("confusion") if attempts else None,
        config=None,
    )


def _attempt(row: Row) -> AttemptView:
    return AttemptView(
        number=row.number,
        state=AttemptState(row.state),
        worker=row.worker,
        slot=row.slot,
        failure=FailureClass(row.failure) if row.failure else None,
        message=row.message,
        traceback=row.traceback,
        code=row.code_fingerprint,
        data=row.data_fingerprint,
        environment=row.environment or {},
        warnings=row.warnings or [],
        started_at=to_datetime(row.started_at),
        ended_at=to_datetime(row.ended_at),
    )


def workers(connection: Connection, now: int) -> WorkerList:
    """Return all workers, most recently seen first."""
    excluded, unreadable = split_damaged(exclusions.of_all(connection), host_exclusion, lambda row: row.host)
    found, damaged = split_damaged(
        leases.workers(connection), lambda row: worker_view(row, now, excluded), lambda row: row.name
    )
    return WorkerList(workers=found, damaged=[*damaged, *unreadable])


def host_exclusion(row: Row) -> HostExclusion:
    """Return the exclusion of a host from a study, of a row that has the study's name."""
    with reading(f"the exclusion of the host {row.host} from study {row.study}", row):
        return HostExclusion(
            study=row.study, host=row.host, reason=row.reason, excluded_at=to_datetime(row.excluded_at)
        )


def worker_view(row: Row, now: int, excluded: Iterable[HostExclusion] = ()) -> WorkerView:
    """Return the view of a worker, with those of the exclusions that are of its host."""
    with reading(f"worker {row.name}", row):
        return WorkerView(
            name=row.name,
            host=row.host,
            capabilities=Capabilities.model_validate(row.capabilities),
            alive=now - row.last_seen_at < ALIVE_SECONDS * MICROSECONDS,
            num_leases=row.num_leases,
            last_seen_at=to_datetime(row.last_seen_at),
            quarantined_at=to_datetime(row.quarantined_at),
            quarantine_reason=row.quarantine_reason,
            exclusions=[each for each in excluded if each.host == (row.host or row.name)],
        )


def event(row: Row) -> Event:
    """Return a journal row as an event."""
    with reading(f"event {row.ordinal} of revision {row.revision}", row):
        return Event(
            revision=row.revision,
            kind=row.kind,
            at=to_datetime(row.at),
            trial=row.trial_number,
            attempt=row.attempt,
            data=row.data,
        )


def events(rows: Iterable[Row]) -> EventList:
    """Return journal rows as events in order, and the damaged ones separately."""
    found, damaged = split_damaged(rows, event, lambda row: row.revision)
    return EventList(events=found, damaged=damaged)
