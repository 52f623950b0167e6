"""Registers a checkpoint in one transaction with all metrics up to its step, so that no metric is missing."""

from __future__ import annotations

from service.contract.attempt import BLOB, CheckpointReply, CheckpointRequest
from service.contract.problem import ErrorCode
from service.domain.errors import DomainError
from service.storage import tables
from service.storage.queries import checkpoints, studies
from service.storage.unit_of_work import UnitOfWork
from service.usecases.attempts.report import store_points
from service.usecases.attempts.rungs import record_rung_results
from service.usecases.blobs import is_uploaded
from service.usecases.context import Context
from service.usecases.fencing import FencedAttempt, ensure_attached, find_attempt, trial_of
from service.usecases.isolation import StudyFault, transact_isolated


async def register_checkpoint(
    context: Context, trial_id: str, number: int, request: CheckpointRequest
) -> CheckpointReply:
    """Store the metrics that were not sent yet and the checkpoint in one transaction. Repeating it changes nothing.

    Raises:
        DomainError: As for a report; or metrics up to the checkpoint's step are missing, or another checkpoint is
            stored at the same step and batch.
    """
    study_id = await context.database.read(lambda connection: trial_of(connection, trial_id).study_id)

    def work(unit_of_work: UnitOfWork, fault: StudyFault | None) -> CheckpointReply:
        fenced = find_attempt(unit_of_work, trial_id, number, request.nonce)
        fenced = ensure_attached(unit_of_work, fenced, lease_seconds=context.limits.lease_seconds)
        for batch in request.reports:
            if batch.sequence > fenced.attempt.num_reports:
                store_points(unit_of_work, fenced, batch)
                fenced = find_attempt(unit_of_work, trial_id, number, request.nonce)
        if request.reports and fault is None:
            spec = studies.spec(unit_of_work.connection, study_id, unit_of_work.study.spec_version)
            record_rung_results(unit_of_work, spec, context.histories.cached(study_id), trial_id, number)
        if request.uri.startswith(BLOB) and not is_uploaded(context, request.sha256, request.size):
            raise DomainError(
                ErrorCode.BLOB_MISSING,
                f"there is no blob {request.sha256} of {request.size} bytes; upload it, then register it again",
            )
        _require_metrics(fenced, request)
        if not _is_stored(unit_of_work, fenced, request):
            _store(unit_of_work, fenced, request)
        return CheckpointReply(step=request.step, batch=request.batch)

    return await transact_isolated(context, study_id, "checkpoint", work)


def _require_metrics(fenced: FencedAttempt, request: CheckpointRequest) -> None:
    """Raise if metrics up to the checkpoint's step are missing.

    An exception is a checkpoint in the middle of a step: it may directly follow the step that the attempt resumed from.
    """
    known: int | None = fenced.attempt.last_step
    if known is None and request.batch:
        known = fenced.attempt.resume_step or 0
    if known is None or known < request.step:
        raise DomainError(
            ErrorCode.REPORT_ORDER,
            f"the checkpoint is of step {request.step}, but the last reported step is {known}; "
            "send the missing reports along",
        )


def _is_stored(unit_of_work: UnitOfWork, fenced: FencedAttempt, request: CheckpointRequest) -> bool:
    """Return whether this checkpoint is registered already; raise if another one is stored at its step and batch."""
    place = request.step, request.batch
    stored = checkpoints.at(unit_of_work.connection, fenced.trial.id, fenced.attempt.number, place)
    if stored is not None and stored.sha256 != request.sha256:
        raise DomainError(
            ErrorCode.REPORT_CONFLICT,
            f"the checkpoint of {checkpoints.named(place)} is already {stored.sha256}, and {request.sha256} was "
            "sent now; an attempt has one checkpoint per step and batch",
        )
    return stored is not None


def _store(unit_of_work: UnitOfWork, fenced: FencedAttempt, request: CheckpointRequest) -> None:
    artifact_id, now = unit_of_work.new_id(), unit_of_work.now()
    unit_of_work.insert(
        tables.artifact,
        id=artifact_id,
        study_id=fenced.trial.study_id,
        trial_id=fenced.trial.id,
        attempt=fenced.attempt.number,
        kind="checkpoint",
        name=f"step-{request.step}" + (f"-batch-{request.batch}" if request.batch else ""),
        sha256=request.sha256,
        size=request.size,
        uri=request.uri,
        created_at=now,
    )
    unit_of_work.insert(
        tables.checkpoint,
        trial_id=fenced.trial.id,
        attempt=fenced.attempt.number,
        step=request.step,
        batch=request.batch,
        artifact_id=artifact_id,
        created_at=now,
        revision=unit_of_work.revision,
    )
    place = {"step": request.step, "batch": request.batch}
    unit_of_work.record("checkpoint_stored", trial=fenced.trial, attempt=fenced.attempt.number, data=place)
