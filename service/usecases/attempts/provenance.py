"""Provenance: records the code and data of each attempt and compares them with those of the study's first attempt."""

from __future__ import annotations

from service.contract.problem import ErrorCode
from service.contract.provenance import ProvenanceRequest, WarningRequest, WarningsReply
from service.contract.study import StudySpec
from service.domain.errors import DomainError
from service.domain.provenance import code_warning, data_warning, uses_custom_code
from service.storage.queries import studies, trials
from service.storage.tables import Row
from service.storage.unit_of_work import UnitOfWork
from service.usecases.context import Context
from service.usecases.fencing import FencedAttempt, ensure_attached, find_attempt, trial_of


def note_code(unit_of_work: UnitOfWork, trial: Row, number: int, code: str | None) -> list[str]:
    """Compare an attempt's code with the study's code; return the warnings for users.

    The first attempt that reports its code sets the study's code.
    """
    if code is None:
        return []
    unit_of_work.set_attempt(trial.id, number, code_fingerprint=code)
    if unit_of_work.study.code_fingerprint is None:
        unit_of_work.set_study(code_fingerprint=code)
    elif difference := code_warning(unit_of_work.study.code_fingerprint, code):
        unit_of_work.set_attempt(trial.id, number, warnings=[difference])
        unit_of_work.record("code_differs", trial=trial, attempt=number, data={"reason": difference})
        return [difference]
    return []


async def record_provenance(context: Context, trial_id: str, number: int, request: ProvenanceRequest) -> WarningsReply:
    """Record the code, data and environment of an attempt.

    The first attempt of a study that reports them sets the study's data, or its code if the task is custom code.

    Raises:
        DomainError: The lease is superseded; data or code differ from the study's, which requires the same; or the
            attempt has reported other values before.
    """
    study_id = await context.database.read(lambda connection: trial_of(connection, trial_id).study_id)

    def work(unit_of_work: UnitOfWork) -> WarningsReply:
        fenced = find_attempt(unit_of_work, trial_id, number, request.nonce)
        if fenced.attempt.environment is not None:
            if not _is_stored(fenced, request):
                message = f"attempt {number} of {trials.title(fenced.trial)} has already sent another provenance"
                raise DomainError(ErrorCode.REPORT_CONFLICT, message)
            return WarningsReply(warnings=fenced.attempt.warnings or [])
        fenced = ensure_attached(unit_of_work, fenced, lease_seconds=context.limits.lease_seconds)
        unit_of_work.set_attempt(trial_id, number, data_fingerprint=request.data, environment=dict(request.environment))
        spec = studies.spec(unit_of_work.connection, study_id, fenced.trial.spec_version)
        if uses_custom_code(spec):
            return WarningsReply(warnings=_compare_code(unit_of_work, spec, fenced, request.code))
        return WarningsReply(warnings=_compare_data(unit_of_work, spec, fenced, request.data))

    return await context.transact(study_id, work)


def _is_stored(fenced: FencedAttempt, request: ProvenanceRequest) -> bool:
    attempt = fenced.attempt
    stored = (attempt.data_fingerprint, attempt.environment) == (request.data, request.environment)
    return stored and request.code in (None, attempt.code_fingerprint)


def _compare_code(unit_of_work: UnitOfWork, spec: StudySpec, fenced: FencedAttempt, code: str | None) -> list[str]:
    if spec.code_policy == "same" and (difference := code_warning(unit_of_work.study.code_fingerprint, code)):
        raise _refusal(fenced, difference)
    return note_code(unit_of_work, fenced.trial, fenced.attempt.number, code)


def _compare_data(unit_of_work: UnitOfWork, spec: StudySpec, fenced: FencedAttempt, data: str | None) -> list[str]:
    study = unit_of_work.study
    if data is not None and study.data_fingerprint is None:
        unit_of_work.set_study(data_fingerprint=data)
    difference = data_warning(spec, study.data_fingerprint, data)
    if difference is None:
        return fenced.attempt.warnings or []
    if spec.code_policy == "same":
        raise _refusal(fenced, difference)
    unit_of_work.record("data_differs", trial=fenced.trial, attempt=fenced.attempt.number, data={"reason": difference})
    return _add(unit_of_work, fenced, difference)


def _refusal(fenced: FencedAttempt, difference: str) -> DomainError:
    remedy = f"copy the same files to worker {fenced.attempt.worker}, or create another study"
    return DomainError(ErrorCode.DATA_DIFFERS, f"{difference}; {remedy}")


async def warn(context: Context, trial_id: str, number: int, request: WarningRequest) -> WarningsReply:
    """Add a worker's warning to its attempt; the same message is stored once.

    Raises:
        DomainError: The lease is superseded.
    """
    study_id = await context.database.read(lambda connection: trial_of(connection, trial_id).study_id)

    def work(unit_of_work: UnitOfWork) -> WarningsReply:
        fenced = find_attempt(unit_of_work, trial_id, number, request.nonce)
        if request.message in (fenced.attempt.warnings or []):
            return WarningsReply(warnings=fenced.attempt.warnings)
        fenced = ensure_attached(unit_of_work, fenced, lease_seconds=context.limits.lease_seconds)
        unit_of_work.record("warning", trial=fenced.trial, attempt=number, data={"reason": request.message})
        return WarningsReply(warnings=_add(unit_of_work, fenced, request.message))

    return await context.transact(study_id, work)


def _add(unit_of_work: UnitOfWork, fenced: FencedAttempt, warning: str) -> list[str]:
    warnings = [*(fenced.attempt.warnings or []), warning]
    unit_of_work.set_attempt(fenced.trial.id, fenced.attempt.number, warnings=warnings)
    return warnings
