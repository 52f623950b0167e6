"""Release of a running trial: a user takes it from its worker, and it waits for another one without a penalty."""

from __future__ import annotations

from service.contract.attempt import Outcome
from service.contract.problem import ErrorCode
from service.contract.trial import AttemptState, ReleaseRequest, TrialState, TrialView
from service.domain.errors import DomainError
from service.storage.queries import studies, trials, views
from service.storage.tables import Row
from service.storage.unit_of_work import UnitOfWork
from service.usecases.attempts.outcome import complete_if_done, end_attempt
from service.usecases.context import Context
from service.usecases.fencing import FencedAttempt
from service.usecases.studies.study_lookup import find_study
from service.usecases.trials.trial_lookup import find_trial


async def release_trial(context: Context, name: str, key: str, request: ReleaseRequest) -> TrialView:
    """End the running attempt of a trial as released.

    The next worker that claims the trial continues from its last checkpoint. The service orders the old worker to drop
    it: the next heartbeat returns an order to stop, and reports and the finish get the error `attempt_ended`, or
    `lease_superseded` once another attempt has begun. Repeating a request that names the attempt changes nothing.

    Raises:
        DomainError: There is no such trial, it is not running, or another attempt of it is running.
    """
    study_id = (await context.database.read(lambda connection: find_study(connection, name))).id

    def work(unit_of_work: UnitOfWork) -> TrialView:
        connection = unit_of_work.connection
        trial = find_trial(connection, unit_of_work.study, key)
        attempt = trials.attempt_of(connection, trial.id, trial.num_attempts)
        if not _is_released(attempt, request):
            fenced = _running(trial, attempt, request)
            spec = studies.spec(connection, study_id, unit_of_work.study.spec_version)
            reason = request.reason or "released by a user"
            end_attempt(unit_of_work, spec, fenced, Outcome(result="released", message=reason))
        changed = trials.by_id(connection, trial.id)
        assert changed is not None
        return views.trial_view(changed)

    view = await context.transact(study_id, work)
    await complete_if_done(context, study_id)
    return view


def _is_released(attempt: Row | None, request: ReleaseRequest) -> bool:
    """Return whether the requested attempt is released already."""
    return attempt is not None and attempt.number == request.attempt and attempt.state == AttemptState.RELEASED


def _running(trial: Row, attempt: Row | None, request: ReleaseRequest) -> FencedAttempt:
    """Return the trial with its running attempt; raise if the request names another attempt."""
    if trial.state != TrialState.RUNNING:
        message = f"{trials.title(trial)} is {trial.state}; only a running trial can be released"
        raise DomainError(ErrorCode.STUDY_STATE, message)
    assert attempt is not None
    if request.attempt not in (None, attempt.number):
        message = (
            f"attempt {request.attempt} of {trials.title(trial)} does not run, attempt {attempt.number} on worker "
            f"{attempt.worker} does; name that one, or none"
        )
        raise DomainError(ErrorCode.STUDY_STATE, message)
    return FencedAttempt(trial, attempt)
