"""Provenance: which code and data an attempt was made from, compared with those its study began with."""

from __future__ import annotations

from service.contract.problem import ErrorCode
from service.contract.provenance import ProvenanceRequest, WarningRequest, WarningsReply
from service.domain.errors import DomainError
from service.domain.provenance import other_code, other_data
from service.storage.queries import studies, trials
from service.storage.tables import Row
from service.storage.unit_of_work import UnitOfWork
from service.usecases.context import Context
from service.usecases.fence import Held, find, hold, trial_of


def note_code(unit_of_work: UnitOfWork, trial: Row, number: int, code: str | None) -> None:
    """Compare a new attempt's code with the study's, which the first that tells one decides."""
    if code is None:
        return
    unit_of_work.set_attempt(trial.id, number, code_fingerprint=code)
    if unit_of_work.study.code_fingerprint is None:
        unit_of_work.set_study(code_fingerprint=code)
    elif difference := other_code(unit_of_work.study.code_fingerprint, code):
        unit_of_work.set_attempt(trial.id, number, warnings=[difference])
        unit_of_work.record("code_differs", trial=trial, attempt=number, data={"reason": difference})


async def tell_provenance(context: Context, trial_id: str, number: int, request: ProvenanceRequest) -> WarningsReply:
    """Store an attempt's data and environment; the first in a study decides which data that is.

    Raises:
        DomainError: the lease is superseded; the data is other than the study's, which allows one only; or it was told
            before, and differently.
    """
    study_id = await context.database.read(lambda connection: trial_of(connection, trial_id).study_id)

    def work(unit_of_work: UnitOfWork) -> WarningsReply:
        held = find(unit_of_work, trial_id, number, request.nonce)
        if held.attempt.environment is not None:
            if (held.attempt.data_fingerprint, held.attempt.environment) != (request.data, request.environment):
                message = f"attempt {number} of {trials.title(held.trial)} has told another provenance before"
                raise DomainError(ErrorCode.REPORT_CONFLICT, message)
            return WarningsReply(warnings=held.attempt.warnings or [])
        held = hold(unit_of_work, held, lease_seconds=context.limits.lease_seconds)
        unit_of_work.set_attempt(trial_id, number, data_fingerprint=request.data, environment=dict(request.environment))
        return WarningsReply(warnings=_compare_data(unit_of_work, held, request.data))

    return await context.transact(study_id, work)


def _compare_data(unit_of_work: UnitOfWork, held: Held, data: str | None) -> list[str]:
    study = unit_of_work.study
    if data is not None and study.data_fingerprint is None:
        unit_of_work.set_study(data_fingerprint=data)
    spec = studies.spec(unit_of_work.connection, study.id, held.trial.spec_version)
    difference = other_data(spec, study.data_fingerprint, data)
    if difference is None:
        return held.attempt.warnings or []
    if spec.code == "same":
        host = f"worker {held.attempt.worker}"
        remedy = f"copy the same files to {host}, or begin another study"
        raise DomainError(ErrorCode.DATA_DIFFERS, f"{difference}; {remedy}")
    unit_of_work.record("data_differs", trial=held.trial, attempt=held.attempt.number, data={"reason": difference})
    return _add(unit_of_work, held, difference)


async def warn(context: Context, trial_id: str, number: int, request: WarningRequest) -> WarningsReply:
    """Add what a worker wants people to know of its attempt; the same sentence stands there once.

    Raises:
        DomainError: the lease is superseded.
    """
    study_id = await context.database.read(lambda connection: trial_of(connection, trial_id).study_id)

    def work(unit_of_work: UnitOfWork) -> WarningsReply:
        held = find(unit_of_work, trial_id, number, request.nonce)
        if request.message in (held.attempt.warnings or []):
            return WarningsReply(warnings=held.attempt.warnings)
        held = hold(unit_of_work, held, lease_seconds=context.limits.lease_seconds)
        unit_of_work.record("warning", trial=held.trial, attempt=number, data={"reason": request.message})
        return WarningsReply(warnings=_add(unit_of_work, held, request.message))

    return await context.transact(study_id, work)


def _add(unit_of_work: UnitOfWork, held: Held, warning: str) -> list[str]:
    warnings = [*(held.attempt.warnings or []), warning]
    unit_of_work.set_attempt(held.trial.id, held.attempt.number, warnings=warnings)
    return warnings
