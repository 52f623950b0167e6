"""Handles the end of an attempt: the worker sends its outcome. Repeating the request changes nothing."""

from __future__ import annotations

from service.contract.attempt import FinishReply, FinishRequest
from service.contract.problem import ErrorCode
from service.contract.trial import AttemptState
from service.domain.errors import DomainError
from service.storage.queries import studies, trials
from service.storage.unit_of_work import UnitOfWork
from service.usecases.attempts.outcome import complete_if_done, end_attempt, end_attempt_unjudged
from service.usecases.context import Context
from service.usecases.fencing import ensure_attached, find_attempt, trial_of
from service.usecases.isolation import StudyFault, transact_isolated


async def finish(context: Context, trial_id: str, number: int, request: FinishRequest) -> FinishReply:
    """End an attempt, and complete the study if nothing is left to do.

    Raises:
        DomainError: The lease is superseded, or the attempt has ended with another outcome.
    """
    study_id = await context.database.read(lambda connection: trial_of(connection, trial_id).study_id)

    def work(unit_of_work: UnitOfWork, fault: StudyFault | None) -> FinishReply:
        fenced = find_attempt(unit_of_work, trial_id, number, request.nonce)
        if fenced.attempt.outcome is None or fenced.attempt.state == AttemptState.LOST:
            fenced = ensure_attached(unit_of_work, fenced, lease_seconds=context.limits.lease_seconds)
            if fault is not None:
                end_attempt_unjudged(unit_of_work, fenced, request.outcome, fault.reason)
            else:
                spec = studies.spec(unit_of_work.connection, study_id, unit_of_work.study.spec_version)
                end_attempt(unit_of_work, spec, fenced, request.outcome)
        elif fenced.attempt.outcome != request.outcome.model_dump(mode="json"):
            raise DomainError(
                ErrorCode.ATTEMPT_ENDED,
                f"attempt {number} of {trials.title(fenced.trial)} has already ended with another outcome "
                f"({fenced.attempt.state}); "
                "drop it and claim another",
            )
        trial = trials.by_id(unit_of_work.connection, trial_id)
        assert trial is not None
        return FinishReply(trial_state=trial.state, values=trial._mapping["values"])  # noqa: SLF001 - see views

    reply = await transact_isolated(context, study_id, "finish", work)
    await complete_if_done(context, study_id)
    return reply
