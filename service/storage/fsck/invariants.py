"""Invariants of the database: each one's sentence and the queries for the rows that violate it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from service.contract.stage import Review
from service.contract.study import StudyState
from service.contract.trial import AttemptState, TrialKind, TrialState
from service.domain.state_machine import StateMachine
from service.domain.states import ATTEMPT, FINISHED_STUDIES, OPEN_TRIALS, STUDY, TRIAL
from service.storage.fsck.damage_invariants import unreadable
from service.storage.fsck.deletion_invariants import at_work_when_deleted, ownerless
from service.storage.fsck.diagnosis_invariants import wrong_diagnoses
from service.storage.fsck.rung_invariants import too_many_promoted, wrong_arrivals
from service.storage.fsck.value_invariants import wrong_values
from service.storage.fsck.violations import Violation, of_attempts, of_studies, of_trials, violations_of
from service.storage.queries import predictions
from service.storage.tables import (
    artifact,
    attempt,
    checkpoint,
    enqueued_trial,
    journal,
    lease,
    log_chunk,
    report,
    stage,
    study,
    study_spec,
    trial,
    verdict,
)


@dataclass(frozen=True)
class Invariant:
    """An invariant as a sentence, and a function that returns the rows that violate it."""

    name: str
    sentence: str
    broken: Callable[[sa.Connection], list[Violation]]


@dataclass(frozen=True)
class Checked:
    """An invariant with the rows that violate it; an empty list means that it holds."""

    name: str
    sentence: str
    broken: list[Violation]


def check(connection: sa.Connection) -> list[Checked]:
    """Check all invariants on one connection, whose transaction must be one snapshot of the database."""
    return [Checked(each.name, each.sentence, each.broken(connection)) for each in INVARIANTS]


def _count(table: sa.FromClause, *conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    return sa.select(sa.func.count()).select_from(table).where(*conditions).correlate_except(table).scalar_subquery()


_of_trial = attempt.c.trial_id == trial.c.id
_newest = sa.and_(_of_trial, attempt.c.number == trial.c.num_attempts)
_is_running = attempt.c.state == AttemptState.RUNNING
_has_lease = sa.exists().where(lease.c.trial_id == attempt.c.trial_id, lease.c.attempt == attempt.c.number)
_is_begun = sa.and_(study.c.state == StudyState.ACTIVE, study.c.next_number > 0)
_is_open = trial.c.state.in_(sorted(OPEN_TRIALS))


def _numbers() -> sa.Select[Any]:
    counted = (
        sa.select(
            trial.c.study_id,
            sa.func.count().label("num"),
            sa.func.min(trial.c.number).label("lowest"),
            sa.func.max(trial.c.number).label("highest"),
        )
        .where(trial.c.kind == TrialKind.SEARCH)
        .group_by(trial.c.study_id)
        .subquery()
    )
    num = sa.func.coalesce(counted.c.num, 0)
    holds = sa.and_(study.c.next_number == num, sa.or_(num == 0, sa.and_(counted.c.lowest == 0, _is_last(counted))))
    columns = study.c.next_number, num.label("num_trials"), counted.c.highest
    return of_studies(*columns).select_from(study.outerjoin(counted, counted.c.study_id == study.c.id)).where(~holds)


def _is_last(counted: sa.Subquery) -> sa.ColumnElement[bool]:
    return counted.c.highest == counted.c.num - 1


def _attempt_numbers() -> sa.Select[Any]:
    num = _count(attempt, _of_trial)
    outside = _count(attempt, _of_trial, sa.or_(attempt.c.number < 1, attempt.c.number > trial.c.num_attempts))
    columns = trial.c.num_attempts, num.label("attempts")
    return of_trials(*columns).where(sa.or_(trial.c.num_attempts != num, outside > 0))


_batches = sa.union(
    sa.select(report.c.trial_id, report.c.attempt, report.c.sequence),
    sa.select(verdict.c.trial_id, verdict.c.attempt, verdict.c.sequence),
).subquery()
"""Report batches with at least one stored value or verdict."""

_of_batches = sa.and_(_batches.c.trial_id == attempt.c.trial_id, _batches.c.attempt == attempt.c.number)
_has_checkpoint = sa.exists().where(
    checkpoint.c.trial_id == attempt.c.trial_id, checkpoint.c.attempt == attempt.c.number
)


def _sequences() -> sa.Select[Any]:
    """Select attempts with batches outside 1 … num_reports, or with missing ones.

    A batch that came with a checkpoint may leave no rows, so attempts with a checkpoint may have missing ones.
    """
    num = _count(_batches, _of_batches)
    outside = _count(
        _batches, _of_batches, sa.or_(_batches.c.sequence < 1, _batches.c.sequence > attempt.c.num_reports)
    )
    is_missing = sa.and_(num != attempt.c.num_reports, ~_has_checkpoint)
    columns = attempt.c.num_reports, num.label("reports")
    return of_attempts(*columns).where(sa.or_(outside > 0, is_missing))


def _unjudged() -> sa.Select[Any]:
    judged = sa.exists().where(
        verdict.c.trial_id == report.c.trial_id,
        verdict.c.attempt == report.c.attempt,
        verdict.c.sequence == report.c.sequence,
    )
    own = sa.and_(report.c.trial_id == attempt.c.trial_id, report.c.attempt == attempt.c.number)
    return of_attempts().where(sa.exists().where(own, ~judged), ~_has_checkpoint)


def _unreported() -> sa.Select[Any]:
    own = sa.and_(verdict.c.trial_id == attempt.c.trial_id, verdict.c.attempt == attempt.c.number)
    return of_attempts().where(sa.exists().where(own, verdict.c.sequence > attempt.c.num_reports))


def _falling_steps() -> sa.Select[Any]:
    of_attempt = report.c.trial_id, report.c.attempt
    spans = (
        sa.select(*of_attempt, report.c.sequence, sa.func.min(report.c.step).label("lowest"))
        .add_columns(sa.func.max(report.c.step).label("highest"))
        .group_by(*of_attempt, report.c.sequence)
        .subquery()
    )
    before = sa.func.lag(spans.c.highest).over(
        partition_by=(spans.c.trial_id, spans.c.attempt), order_by=spans.c.sequence
    )
    with_previous = sa.select(spans, before.label("before")).subquery()
    fallen = sa.exists().where(
        with_previous.c.trial_id == attempt.c.trial_id,
        with_previous.c.attempt == attempt.c.number,
        with_previous.c.lowest < with_previous.c.before,
    )
    highest = (
        sa.select(sa.func.max(report.c.step))
        .where(report.c.trial_id == attempt.c.trial_id, report.c.attempt == attempt.c.number)
        .correlate(attempt)
        .scalar_subquery()
    )
    is_last = sa.func.coalesce(attempt.c.last_step, -1) == sa.func.coalesce(highest, -1)
    return of_attempts(attempt.c.last_step, highest.label("highest")).where(sa.or_(fallen, ~is_last))


def _canonical_twice() -> sa.Select[Any]:
    """Select (metric, step) pairs with more than one canonical value.

    This repeats the definition of the canonical series on purpose: a bug in the shared query would hide itself.
    """
    later = attempt.alias()
    overtaken = sa.exists().where(
        later.c.trial_id == report.c.trial_id,
        later.c.number > report.c.attempt,
        sa.func.coalesce(later.c.resume_step, -1) < report.c.step,
    )
    counting = trial.join(study, study.c.id == trial.c.study_id).join(report, report.c.trial_id == trial.c.id)
    return (
        of_studies(trial.c.number.label("trial"), report.c.metric, report.c.step, sa.func.count().label("values"))
        .select_from(counting)
        .where(~overtaken)
        .group_by(study.c.name, trial.c.id, trial.c.number, report.c.metric, report.c.step)
        .having(sa.func.count() > 1)
    )


def _outrun() -> sa.Select[Any]:
    """Select attempts with a checkpoint beyond the attempt's own metrics.

    A checkpoint in the middle of a step is allowed directly after the step that the attempt resumed from.
    """
    is_resumed = sa.and_(checkpoint.c.batch > 0, checkpoint.c.step == sa.func.coalesce(attempt.c.resume_step, 0))
    outruns = sa.exists().where(
        checkpoint.c.trial_id == attempt.c.trial_id,
        checkpoint.c.attempt == attempt.c.number,
        checkpoint.c.step > sa.func.coalesce(attempt.c.last_step, -1),
        ~is_resumed,
    )
    return of_attempts(attempt.c.last_step).where(outruns)


def _revisions() -> list[sa.Select[Any]]:
    of_study = [
        _ahead(table, table.join(study, study.c.id == table.c.study_id))
        for table in (trial, attempt, study_spec, enqueued_trial, stage, journal)
    ]
    of_trial = [
        _ahead(table, table.join(trial, trial.c.id == table.c.trial_id).join(study, study.c.id == trial.c.study_id))
        for table in (report, verdict, checkpoint)
    ]
    return of_study + of_trial


def _ahead(table: sa.Table, joined: sa.FromClause) -> sa.Select[Any]:
    columns = sa.literal(table.name).label("table"), sa.func.max(table.c.revision).label("revision")
    above = table.c.revision > study.c.revision
    named = of_studies(*columns, study.c.revision.label("study_revision"))
    return named.select_from(joined).where(above).group_by(study.c.id, study.c.name, study.c.revision)


def _ordinals() -> sa.Select[Any]:
    ordinal = journal.c.ordinal
    contiguous = sa.and_(sa.func.min(ordinal) == 0, sa.func.max(ordinal) == sa.func.count() - 1)
    return (
        of_studies(journal.c.revision)
        .select_from(journal.join(study, study.c.id == journal.c.study_id))
        .group_by(study.c.name, journal.c.study_id, journal.c.revision)
        .having(~contiguous)
    )


def _first_events() -> sa.Select[Any]:
    first = (
        sa.select(journal.c.kind)
        .where(journal.c.study_id == study.c.id)
        .order_by(journal.c.revision, journal.c.ordinal)
        .limit(1)
        .correlate(study)
        .scalar_subquery()
    )
    return of_studies(first.label("first")).where(sa.func.coalesce(first, "") != "study_created")


def _last_events(machine: StateMachine[Any, Any], own: sa.ColumnElement[bool]) -> sa.ScalarSelect[str]:
    """Return the state after the newest journalled transition, as a subquery; NULL if there was none."""
    kinds = {f"{machine.name}_{event}": move.target for event, move in machine.transitions.items()}
    return (
        sa.select(sa.case(kinds, value=journal.c.kind))
        .where(own, journal.c.kind.in_(sorted(kinds)))
        .order_by(journal.c.revision.desc(), journal.c.ordinal.desc())
        .limit(1)
        .correlate_except(journal)
        .scalar_subquery()
    )


def _journalled_states() -> list[sa.Select[Any]]:
    own_study = journal.c.study_id == study.c.id
    own_trial = sa.and_(journal.c.study_id == trial.c.study_id, journal.c.trial_id == trial.c.id)
    own_attempt = sa.and_(
        journal.c.study_id == attempt.c.study_id,
        journal.c.trial_id == attempt.c.trial_id,
        journal.c.attempt == attempt.c.number,
    )
    found = []
    for machine, own, table, named in (
        (STUDY, own_study, study, of_studies),
        (TRIAL, own_trial, trial, of_trials),
        (ATTEMPT, own_attempt, attempt, of_attempts),
    ):
        recorded = sa.func.coalesce(_last_events(machine, own), machine.initial)
        found.append(named(table.c.state, recorded.label("journal")).where(table.c.state != recorded))
    return found


def _specs() -> list[sa.Select[Any]]:
    def known(owner: sa.ColumnElement[str], version: sa.ColumnElement[int]) -> sa.Exists:
        return sa.exists().where(study_spec.c.study_id == owner, study_spec.c.version == version)

    return [
        of_studies(study.c.spec_version).where(~known(study.c.id, study.c.spec_version)),
        of_trials(trial.c.spec_version).where(~known(trial.c.study_id, trial.c.spec_version)),
    ]


def _owners() -> list[sa.Select[Any]]:
    leased = sa.exists().where(
        lease.c.trial_id == attempt.c.trial_id,
        lease.c.attempt == attempt.c.number,
        lease.c.study_id != trial.c.study_id,
    )
    return [of_attempts().where(sa.or_(attempt.c.study_id != trial.c.study_id, leased))]


def _forks() -> list[sa.Select[Any]]:
    parent = trial.alias()
    is_in_study = sa.exists().where(parent.c.id == trial.c.parent_id, parent.c.study_id == trial.c.study_id)
    is_fork = trial.c.kind == TrialKind.FORK
    reported_before = sa.exists().where(report.c.trial_id == trial.c.id, report.c.step <= trial.c.parent_step)
    began = sa.func.coalesce(attempt.c.resume_step, -1) < trial.c.parent_step
    return [
        of_trials(trial.c.id, trial.c.parent_id).where(
            sa.or_(is_fork != is_in_study, is_fork != trial.c.parent_step.is_not(None))
        ),
        of_trials(trial.c.id, trial.c.parent_step).where(reported_before),
        of_attempts(trial.c.id, attempt.c.resume_step).where(began),
    ]


def _overlapping_logs() -> sa.Select[Any]:
    stream = log_chunk.c.trial_id, log_chunk.c.attempt, log_chunk.c.stream
    end = log_chunk.c.start_offset + sa.func.length(log_chunk.c.content)
    before = sa.func.lag(end).over(partition_by=stream, order_by=log_chunk.c.start_offset).label("before")
    chunks = sa.select(*stream, log_chunk.c.start_offset, before).subquery()
    of_the_attempt = sa.and_(chunks.c.trial_id == attempt.c.trial_id, chunks.c.attempt == attempt.c.number)
    return of_attempts().where(sa.exists().where(of_the_attempt, chunks.c.start_offset < chunks.c.before))


def _predictions() -> list[sa.Select[Any]]:
    is_one = artifact.c.kind == predictions.KIND
    of_attempt = sa.exists().where(is_one, _is_of(attempt.c.trial_id), artifact.c.attempt == attempt.c.number)
    is_completed = sa.and_(trial.c.state == TrialState.COMPLETED, attempt.c.state == AttemptState.SUCCEEDED)
    num = _count(artifact, is_one, _is_of(trial.c.id))
    return [
        of_attempts(attempt.c.state).where(of_attempt, ~is_completed),
        of_trials(num.label("files")).where(num > 1),
    ]


def _is_of(trial_id: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    return artifact.c.trial_id == trial_id


def _pragma(
    name: str, columns: Iterable[str], fine: tuple[Any, ...] = ()
) -> Callable[[sa.Connection], list[Violation]]:
    """Return a check of the file by an SQLite PRAGMA; Postgres has none and always enforces these constraints."""

    def broken(connection: sa.Connection) -> list[Violation]:
        if connection.dialect.name != "sqlite":
            return []
        rows = connection.exec_driver_sql(f"PRAGMA {name}").all()
        return [dict(zip(columns, row, strict=True)) for row in rows if tuple(row) != fine]

    return broken


_num_proposed = (
    sa.select(sa.func.count())
    .where(stage.c.study_id == study.c.id, stage.c.review == Review.PROPOSED)
    .scalar_subquery()
)

INVARIANTS = (
    Invariant(
        "numbers",
        "search trials are numbered 0 … n-1 without gaps or duplicates, and next_number is n",
        violations_of(_numbers()),
    ),
    Invariant(
        "attempt_numbers",
        "attempts are numbered 1 … n, and num_attempts is n",
        violations_of(_attempt_numbers()),
    ),
    Invariant(
        "running_trials",
        "a trial is running exactly while its newest attempt is, and no older attempt is running",
        violations_of(
            of_trials().where(trial.c.state == TrialState.RUNNING, ~sa.exists().where(_newest, _is_running)),
            of_attempts().where(_is_running, sa.or_(trial.c.state != TrialState.RUNNING, ~_newest)),
        ),
    ),
    Invariant(
        "leases",
        "there is a lease exactly for each running attempt",
        violations_of(of_attempts(attempt.c.state).where(_is_running != _has_lease)),
    ),
    Invariant(
        "ended_attempts",
        "an attempt has ended_at exactly when it has ended",
        violations_of(
            of_attempts(attempt.c.state, attempt.c.ended_at).where(_is_running != attempt.c.ended_at.is_(None))
        ),
    ),
    Invariant(
        "finished_trials",
        "a trial has finished_at exactly when its state is final, and then it has no lease",
        violations_of(
            of_trials(trial.c.state, trial.c.finished_at).where(_is_open != trial.c.finished_at.is_(None)),
            of_trials(trial.c.state).where(~_is_open, sa.exists().where(lease.c.trial_id == trial.c.id)),
        ),
    ),
    Invariant(
        "finished_studies",
        "a study has finished_at exactly when it has ended, and then it has no open trial",
        violations_of(
            of_studies(study.c.state, study.c.finished_at).where(
                study.c.state.in_(sorted(FINISHED_STUDIES)) == study.c.finished_at.is_(None)
            ),
            of_trials(trial.c.state).where(study.c.state.in_(sorted(FINISHED_STUDIES)), _is_open),
        ),
    ),
    Invariant(
        "own_time",
        "a study's own time passes exactly while it is active, from its first trial on",
        violations_of(of_studies(study.c.state).where(_is_begun == study.c.active_since.is_(None))),
    ),
    Invariant(
        "reports",
        "an attempt's reports are numbered 1 … n without gaps, and num_reports is n",
        violations_of(_sequences()),
    ),
    Invariant(
        "steps", "steps never decrease within an attempt, and last_step is the largest", violations_of(_falling_steps())
    ),
    Invariant(
        "canonical",
        "after a resume each metric has one canonical value per step",
        violations_of(_canonical_twice()),
    ),
    Invariant(
        "verdicts",
        "each report has its verdict, unless it came with a checkpoint, and each verdict has its report",
        violations_of(_unjudged(), _unreported()),
    ),
    Invariant("checkpoints", "no checkpoint is of a step whose metrics are missing", violations_of(_outrun())),
    Invariant("revisions", "no row has a later revision than its study", violations_of(*_revisions())),
    Invariant("journal_order", "the events of a revision are numbered 0 … n-1", violations_of(_ordinals())),
    Invariant("journal_begin", "a study's journal begins with its creation", violations_of(_first_events())),
    Invariant(
        "journal_states",
        "study, trial and attempt are in the state that the journal's last event led to",
        violations_of(*_journalled_states()),
    ),
    Invariant(
        "predictions",
        "predictions belong to the attempt that completed its trial, and a trial has one file of them",
        violations_of(*_predictions()),
    ),
    Invariant("specs", "the spec that a study or trial names is stored", violations_of(*_specs())),
    Invariant(
        "reviews",
        "a study that is paused for a review has exactly one proposed box",
        violations_of(
            of_studies().where(study.c.state == StudyState.PAUSED, study.c.pause_cause == "review", _num_proposed != 1)
        ),
    ),
    Invariant("owners", "trial, attempt and lease belong to one study", violations_of(*_owners())),
    Invariant(
        "values",
        "completed trials, and pruned trials with all objectives, have their series' last or best as values",
        wrong_values,
    ),
    Invariant(
        "paused_trials",
        "a paused trial has trained to its run_until, and saved a checkpoint to resume from",
        violations_of(
            of_trials(trial.c.run_until, trial.c.last_step).where(
                trial.c.state == TrialState.PAUSED,
                sa.or_(
                    sa.func.coalesce(trial.c.last_step, -1) < trial.c.run_until,
                    ~sa.exists().where(checkpoint.c.trial_id == trial.c.id),
                ),
            )
        ),
    ),
    Invariant(
        "rung_results",
        "a trial has one result at each rung that it reached, ranked among the results so far",
        wrong_arrivals,
    ),
    Invariant("places", "at most one in eta of the trials at a rung was promoted", too_many_promoted),
    Invariant(
        "forks",
        "a fork has a parent in its study, and its attempts and values are of steps after the fork point",
        violations_of(*_forks()),
    ),
    Invariant(
        "diagnoses",
        "a diagnosis is of no later revision, and the trials of a judged study have one of their current revision",
        wrong_diagnoses,
    ),
    Invariant("logs", "no byte of an attempt's logs is stored twice", violations_of(_overlapping_logs())),
    Invariant("deleted", "no trial of a deleted study runs or is leased", at_work_when_deleted),
    Invariant("readable", "every row can be read: its text is UTF-8, its JSON is whole, its values fit", unreadable),
    Invariant("owned", "no row belongs to a study or trial that no longer exists", ownerless),
    Invariant(
        "foreign_keys",
        "no row refers to a missing row",
        _pragma("foreign_key_check", ("table", "row", "refers_to", "constraint")),
    ),
    Invariant("integrity", "the file is whole", _pragma("integrity_check", ("said",), fine=("ok",))),
)
"""All invariants, in the order in which they are reported."""
