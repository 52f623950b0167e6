"""Fencing: a worker's write names trial, attempt and nonce, and only the newest attempt may write."""

from __future__ import annotations

from dataclasses import dataclass

from service.contract.problem import ErrorCode
from service.contract.trial import AttemptState, TrialState
from service.domain.errors import DomainError
from service.domain.failures import undo_loss
from service.domain.states import AttemptEvent, TrialEvent
from service.storage import tables
from service.storage.damage import reading
from service.storage.queries import trials
from service.storage.tables import Connection, Row
from service.storage.timestamps import MICROSECONDS
from service.storage.unit_of_work import UnitOfWork

_NOT_ENDED = dict.fromkeys(("ended_at", "outcome", "failure", "message", "traceback", "fingerprint"))


@dataclass(frozen=True)
class FencedAttempt:
    """A trial and the attempt that a worker's request is about."""

    trial: Row
    attempt: Row


def trial_of(connection: Connection, trial_id: str) -> Row:
    """Return the trial with this id.

    Raises:
        DomainError: There is no such trial.
    """
    row = trials.by_id(connection, trial_id)
    if row is None:
        raise DomainError(
            ErrorCode.UNKNOWN_TRIAL, f"there is no trial with id {trial_id}; use the trial and the attempt of the grant"
        )
    return row


def find_attempt(unit_of_work: UnitOfWork, trial_id: str, number: int, nonce: str) -> FencedAttempt:
    """Return the attempt that a worker's request names, in whatever state it is.

    Raises:
        DomainError: The attempt does not exist, the nonce does not match, or there is a newer attempt.
        DamagedRowError: The row of the trial or of the attempt is damaged, so that nothing can be written to it.
    """
    trial = trials.by_id(unit_of_work.connection, trial_id)
    attempt = trials.attempt_of(unit_of_work.connection, trial_id, number)
    if trial is None or attempt is None:
        raise DomainError(
            ErrorCode.UNKNOWN_ATTEMPT,
            f"trial {trial_id} has no attempt {number}; use the trial and the attempt of the grant",
        )
    for what, row in (trials.title(trial), trial), (f"attempt {number} of {trials.title(trial)}", attempt):
        with reading(what, row):
            pass
    if attempt.nonce != nonce or attempt.number != trial.num_attempts:
        raise DomainError(
            ErrorCode.LEASE_SUPERSEDED,
            f"attempt {number} of {trials.title(trial)} no longer holds the lease (attempt {trial.num_attempts} does, "
            "or the nonce is not the granted one); drop the trial and claim another",
        )
    return FencedAttempt(trial, attempt)


def ensure_attached(unit_of_work: UnitOfWork, fenced: FencedAttempt, *, lease_seconds: float) -> FencedAttempt:
    """Ensure that an attempt may write, and reattach it if it was lost.

    An expired lease is not superseded: the service attaches a lost attempt again while no other attempt has begun.

    Raises:
        DomainError: The attempt has ended.
    """
    number = fenced.attempt.number
    if fenced.attempt.state == AttemptState.RUNNING:
        return fenced
    if fenced.attempt.state == AttemptState.LOST and fenced.trial.state == TrialState.WAITING:
        unit_of_work.advance_attempt(fenced.trial, number, AttemptEvent.REATTACHED, **_NOT_ENDED)
        num_losses, num_failures = undo_loss(fenced.trial.num_losses, fenced.trial.num_failures)
        unit_of_work.advance_trial(
            fenced.trial, TrialEvent.REATTACHED, attempt=number, num_losses=num_losses, num_failures=num_failures
        )
        grant_lease(unit_of_work, fenced.trial, number, fenced.attempt.worker, lease_seconds)
        return find_attempt(unit_of_work, fenced.trial.id, number, fenced.attempt.nonce)
    raise DomainError(
        ErrorCode.ATTEMPT_ENDED,
        f"attempt {number} of {trials.title(fenced.trial)} has ended ({fenced.attempt.state}); "
        "drop it and claim another",
    )


def grant_lease(unit_of_work: UnitOfWork, trial: Row, attempt: int, worker: str, lease_seconds: float) -> None:
    """Insert a lease: the worker's exclusive right to this attempt, from now on."""
    now = unit_of_work.now()
    unit_of_work.insert(
        tables.lease,
        trial_id=trial.id,
        attempt=attempt,
        study_id=trial.study_id,
        worker=worker,
        granted_at=now,
        renewed_at=now,
        expires_at=now + int(lease_seconds * MICROSECONDS),
    )
