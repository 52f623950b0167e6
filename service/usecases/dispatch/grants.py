"""Grants: insert a new trial, start an attempt with its lease, and build the message for the worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.contract.base import TaskKind
from service.contract.claim import Artifact, ClaimRequest, Grant, Monitor, PreflightOrder, ResumePoint
from service.contract.study import StudySpec
from service.contract.trial import TrialKind
from service.domain.entries import custom_entries_of_trial
from service.domain.history import History, Suggestion
from service.domain.placement import is_reachable
from service.domain.provenance import code_for
from service.domain.rungs import rungs_of
from service.domain.states import ATTEMPT, TrialEvent
from service.domain.task_config import apply_parameters
from service.domain.teachers import teacher_of
from service.search import decide
from service.search.replay.plan import plan
from service.search.seeds import trial_seed
from service.storage import tables
from service.storage.queries import checkpoints, leases, studies, trials
from service.storage.tables import Connection, Row
from service.storage.timestamps import MICROSECONDS
from service.storage.unit_of_work import UnitOfWork
from service.usecases.attempts.provenance import note_code
from service.usecases.begin_trial import begin_trial
from service.usecases.blobs import is_stored
from service.usecases.catalogue import catalogue_with
from service.usecases.context import Context
from service.usecases.fencing import grant_lease


def insert_trial(unit_of_work: UnitOfWork, spec: StudySpec, history: History, suggestion: Suggestion) -> Row:
    """Insert a search trial with the next number."""
    number = history.next_number
    active_since = unit_of_work.study.active_since or unit_of_work.now()
    unit_of_work.set_study(next_number=number + 1, active_since=active_since)
    return begin_trial(
        unit_of_work,
        kind=TrialKind.SEARCH,
        number=number,
        spec_version=unit_of_work.study.spec_version,
        history_revision=history.revision,
        parameters=dict(suggestion.parameters),
        suggestion_reason=suggestion.reason,
        notes=dict(suggestion.notes),
        stage=suggestion.stage,
        seed=trial_seed(spec.sampler.seed, number),
        run_until=suggestion.run_until or (spec.resource.max if spec.resource else None),
        priority=0,
    )


def start_attempt(
    unit_of_work: UnitOfWork, context: Context, request: ClaimRequest, spec: StudySpec, trial: Row
) -> int:
    """Start an attempt of a waiting trial for the worker: insert the attempt, its lease, and the claim's request id.

    The attempt begins with the trial's newest readable checkpoint.

    Returns:
        The number of the attempt.
    """
    number: int = trial.num_attempts + 1
    now = unit_of_work.now()
    resume_step, resume_batch = _resume_point_for(unit_of_work.connection, context, trial, request)
    unit_of_work.advance_trial(
        trial, TrialEvent.CLAIMED, attempt=number, num_attempts=number, started_at=trial.started_at or now
    )
    unit_of_work.insert(
        tables.attempt,
        trial_id=trial.id,
        number=number,
        study_id=trial.study_id,
        state=ATTEMPT.initial,
        nonce=unit_of_work.new_id(),
        worker=request.worker,
        slot=request.slot,
        num_devices=max(1, len(request.capabilities.devices)),
        resume_step=resume_step,
        resume_batch=resume_batch,
        num_reports=0,
        started_at=now,
        revision=unit_of_work.revision,
    )
    note_code(unit_of_work, trial, number, code_for(spec, request.capabilities, context.catalogue))
    grant_lease(unit_of_work, trial, number, request.worker, context.limits.lease_seconds)
    unit_of_work.insert(
        tables.claim,
        request_id=request.request_id,
        worker=request.worker,
        study_id=trial.study_id,
        trial_id=trial.id,
        attempt=number,
        created_at=now,
    )
    return number


def _resume_point_for(
    connection: Connection, context: Context, trial: Row, request: ClaimRequest
) -> tuple[int | None, int]:
    """Return step and batch of the newest checkpoint that this worker can read.

    Checkpoints that an earlier attempt could not read are left out. The steps of a fork begin after its parent's
    checkpoint, even if that checkpoint is gone.
    """
    if trial.num_attempts == 0:
        return trial.parent_step, 0
    unreadable = checkpoints.unreadable(connection, trial.id)
    for saved in checkpoints.canonical(connection, trial.id):
        is_readable = is_stored(context, saved) and is_reachable(saved.uri, request.capabilities.directories)
        if is_readable and saved.uri not in unreadable:
            return saved.step, saved.batch
    return trial.parent_step, 0


def build_grant(connection: Connection, context: Context, trial_id: str, number: int) -> Grant:
    """Return the message for the worker: the lease and the whole task with the trial's parameters."""
    trial = trials.by_id(connection, trial_id)
    attempt = trials.attempt_of(connection, trial_id, number)
    assert trial is not None
    assert attempt is not None
    lease = leases.of_attempt(connection, trial_id, number)
    remaining = (lease.expires_at - context.database.dialect.now(connection)) / MICROSECONDS if lease else 0.0
    own = {
        "attempt": number,
        "nonce": attempt.nonce,
        "resume": _resume_point(connection, context, trial, attempt),
        "lease_seconds": max(0.0, remaining),
    }
    return grant_of(connection, context, trial).model_copy(update=own)


def grant_of(connection: Connection, context: Context, trial: Row) -> Grant:
    """Return the part of the grant that all attempts of a trial share.

    By itself it is the grant of no attempt: without a lease and without a checkpoint to resume from.
    """
    study = studies.by_id(connection, trial.study_id)
    spec = studies.spec(connection, study.id, trial.spec_version)
    task, dropped = task_of(connection, context, spec, trial)
    return Grant(
        study=study.id,
        study_name=study.name,
        trial=trial.id,
        number=trial.number,
        attempt=0,
        nonce="",
        task_kind=spec.task_kind,
        task=task,
        parameters=trial.parameters,
        dropped=dropped,
        seed=trial.seed,
        monitor=_monitor(connection, spec, trial),
        constraints=spec.constraints.model_dump(exclude_none=True, exclude={"memory"}) if spec.constraints else {},
        resource=spec.resource.name if spec.resource else "step",
        run_until=trial.run_until,
        pauses=_pauses(spec, trial),
        fork_at=trial.parent_step,
        teacher=_teacher(connection, context, spec, task),
        preflight=_preflight_order(spec) if trial.kind == TrialKind.PREFLIGHT else None,
        lease_seconds=0.0,
        heartbeat_seconds=context.limits.heartbeat_seconds,
    )


def _preflight_order(spec: StudySpec) -> PreflightOrder:
    """Return what a worker needs to check the study: its spec, and how much it will train."""
    cost = plan(spec)
    num_epochs = None if cost.num_steps is None else cost.num_steps * cost.trainings_per_trial
    return PreflightOrder(spec=spec, budget_epochs=num_epochs)


def _monitor(connection: Connection, spec: StudySpec, trial: Row) -> Monitor:
    """Return the objective for the worker, with the best value so far if one value of a series is the result."""
    objective, best = spec.primary_objective, None
    if trial.number is not None and len(spec.objectives) == 1 and isinstance(objective.value, str):
        best = trials.best(connection, trial.study_id, spec)
    return Monitor(
        metric=objective.metric,
        direction=objective.direction,
        keep="best" if objective.value == "best" else "last",
        best=None if best is None else best.value,
    )


def _pauses(spec: StudySpec, trial: Row) -> bool:
    """Return whether the trial trains to a rung from which it may be promoted."""
    rungs = rungs_of(spec) if trial.number is not None else None
    return rungs is not None and trial.run_until is not None and trial.run_until < rungs.last


def _resume_point(connection: Connection, context: Context, trial: Row, attempt: Row) -> ResumePoint | None:
    if attempt.resume_step is None:
        return None
    place = attempt.resume_step, attempt.resume_batch
    saved = checkpoints.resumed(connection, trial.id, attempt.number, place)
    if saved is None:
        unreadable = checkpoints.unreadable(connection, trial.id)
        parents = checkpoints.of_parent(connection, trial)
        saved = next((each for each in parents if is_stored(context, each) and each.uri not in unreadable), None)
    if saved is None:
        return None
    return ResumePoint(step=saved.step, batch=saved.batch, sha256=saved.sha256, size=saved.size, uri=saved.uri)


def _teacher(
    connection: Connection, context: Context, spec: StudySpec, task: Mapping[str, Any] | None
) -> Artifact | None:
    """Return the checkpoint of the teacher that a training task names, if it is available."""
    name = teacher_of(task) if task is not None and spec.task_kind is TaskKind.TRAIN else None
    saved = None if name is None else checkpoints.of_teacher(connection, spec.project, name)
    if saved is None or not is_stored(context, saved):
        return None
    return Artifact(sha256=saved.sha256, size=saved.size, uri=saved.uri)


def task_of(
    connection: Connection, context: Context, spec: StudySpec, trial: Row
) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the trial's task with its parameters applied, and the options that a chosen name made meaningless."""
    if spec.task is None:
        return None, []
    if spec.task.configuration is not None:
        kind, settings = spec.task_kind, {**decide.overrides_of(spec, trial.stage), **trial.parameters}
        custom = custom_entries_of_trial(settings, kind, context.catalogue)
        catalogue = catalogue_with(connection, context, custom).for_kind(kind)
        return apply_parameters(spec.task.configuration, settings, catalogue)
    own = spec.task.function or spec.task.command
    assert own is not None, "a task is exactly one of its kinds"
    return own.model_dump(mode="json"), []
