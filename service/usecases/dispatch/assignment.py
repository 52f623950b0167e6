"""Dispatch of waiting trials: loads what placement rules need and picks the next trial for a worker."""

from __future__ import annotations

from service.contract.attempt import BLOB
from service.contract.base import TaskKind
from service.contract.claim import ClaimRequest
from service.contract.trial import AttemptState, TrialState
from service.domain.entries import custom_entries_of_trial
from service.domain.failures import min_gpu_gib
from service.domain.placement import CheckpointHost, has_enough_gpu_memory, is_reachable, is_reserved_for
from service.storage.queries import attempts, checkpoints, exclusions, journal, leases, trials
from service.storage.queries.views import ALIVE_SECONDS
from service.storage.tables import Connection, Row
from service.storage.timestamps import MICROSECONDS
from service.usecases.blobs import is_stored
from service.usecases.context import Context
from service.usecases.eligibility import missing_entries_of


def next_assignable(
    connection: Connection, context: Context, study_id: str, kind: TaskKind, request: ClaimRequest
) -> tuple[Row | None, str | None]:
    """Return the next waiting trial that this worker may execute, or else what a waiting trial needs instead."""
    needs = None
    for trial in trials.in_states(connection, study_id, [TrialState.WAITING]):
        need = _missing_entries(connection, context, trial, kind, request)
        if need is None:
            need = _unmet_need(connection, context, trial, request)
        if need is None:
            return trial, None
        needs = f"{trials.title(trial)} waits for {need}"
    return None, needs


def _missing_entries(
    connection: Connection, context: Context, trial: Row, kind: TaskKind, request: ClaimRequest
) -> str | None:
    """Return what the worker lacks for the trial's own custom entries, or None.

    A fork or an older version of the spec may have chosen entries that the study's current spec does not name.
    """
    own = custom_entries_of_trial(trial.parameters, kind, context.catalogue)
    lacked = missing_entries_of(connection, own, request.capabilities)
    return None if lacked is None else f"a worker that can train it: {lacked}"


def _unmet_need(connection: Connection, context: Context, trial: Row, request: ClaimRequest) -> str | None:
    """Return what a trial that is not fresh needs instead of this worker, or None.

    Such a trial was executed before, or continues from another trial.
    """
    floor = min_gpu_gib(attempts.past_attempts(connection, trial.id))
    if not has_enough_gpu_memory(floor, request.capabilities):
        return f"a GPU with more than {floor:g} GiB"
    saved = next((each for each in checkpoints.beginnings(connection, trial) if is_stored(context, each)), None)
    if saved is None:
        return None
    now = context.database.dialect.now(connection)
    if not is_reachable(saved.uri, request.capabilities.directories):
        offered = leases.directories(connection, now - ALIVE_SECONDS * MICROSECONDS, trial.study_id)
        return "a worker that shares the directory of its checkpoint" if is_reachable(saved.uri, offered) else None
    if floor or saved.trial_id != trial.id or not saved.uri.startswith(BLOB):
        return None
    holder = _checkpoint_host(connection, context, trial, saved, now)
    waited = (now - journal.at(connection, trial.study_id, trial.revision)) / MICROSECONDS
    if is_reserved_for(holder, request.host or request.worker, waited):
        return f"a moment for {holder.host}, which holds its checkpoint"
    return None


def _checkpoint_host(connection: Connection, context: Context, trial: Row, saved: Row, now: int) -> CheckpointHost:
    """Return the host that saved the checkpoint, and whether it can take the trial now."""
    attempt = trials.attempt_of(connection, trial.id, saved.attempt)
    last = trials.attempt_of(connection, trial.id, trial.num_attempts)
    assert attempt is not None
    assert last is not None
    host = attempts.host_of(connection, attempt.worker)
    since = now - int(3 * context.limits.heartbeat_seconds * MICROSECONDS)
    is_leaving = last.state == AttemptState.RELEASED and attempts.host_of(connection, last.worker) == host
    is_excluded = trial.study_id in exclusions.reasons_of_host(connection, host)
    return CheckpointHost(host, has_room=not (is_leaving or is_excluded) and leases.has_room(connection, host, since))
