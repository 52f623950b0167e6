"""Handles claims: a worker asks for a trial, and the service picks a study and assigns a trial of it.

Samplers run outside any transaction; a short transaction writes the trial. If a study fails, is busy, or computes for
too long, the claim skips it, notes the reason, and tries the next study.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import assert_never

from service.contract.base import PROTOCOL_VERSION
from service.contract.claim import ClaimRequest, Grant, NoTrial
from service.contract.problem import ErrorCode
from service.contract.study import StudySpec, StudyState
from service.domain.budget import NO_USAGE, BudgetUsage, exhausted_reason, has_stopping_limits
from service.domain.errors import DomainError
from service.domain.history import History, Suggestion
from service.domain.provenance import code_for, code_mismatch
from service.domain.states import FINISHED_STUDIES
from service.search import decide
from service.search.schedulers.rung_scheduler import Promote
from service.storage import tables
from service.storage.queries import attempts, budget_usage, exclusions, fair_share, history, leases, preflights, studies
from service.storage.tables import Connection, Row
from service.storage.unit_of_work import UnitOfWork
from service.usecases.attempts.outcome import complete_study
from service.usecases.attempts.rungs import promote
from service.usecases.context import Context
from service.usecases.dispatch.assignment import next_assignable
from service.usecases.dispatch.grants import build_grant, insert_trial, start_attempt
from service.usecases.dispatch.too_large import give_up_if_too_large
from service.usecases.eligibility import exclusion_reason, ineligibility
from service.usecases.isolation import StudyFault, guarded, isolated, pause_for
from service.usecases.studies.stages import begin_stage, request_review
from service.usecases.studies.study_lookup import find_study
from service.usecases.suggestions import Late
from service.usecases.workers import seen_recently, upsert_worker

log = logging.getLogger(__name__)

_MAX_ROUNDS = 20
"""How often a claim decides again after another transaction changed the study, before the worker must retry later."""

_SKIPPED = {ErrorCode.BUSY, ErrorCode.INVALID_REQUEST, ErrorCode.UNKNOWN_STUDY}
"""Errors that concern one study only: its row is locked, its suggestion cannot be stored, or it was just deleted."""

_LEAST_WAIT_SECONDS = 1.0
"""Minimum time that a claim waits for one suggestion, even if other studies have used up its waiting time."""


@dataclass(frozen=True)
class ClaimContext:
    """What a claim reads before it tries any study."""

    granted: Grant | StudyFault | None
    """The earlier response to the same request, or the fault that prevents repeating it."""
    seen_recently: bool
    """Whether the worker was seen recently with the same capabilities."""
    quarantine: str | None
    """Why this worker's host gets no trials."""
    candidates: list[Row]
    """The studies to try, in order."""
    unmet: list[str]
    """Why this worker can get no trial of other studies."""
    faults: dict[str, StudyFault]
    """The studies whose spec cannot be read, by name."""


@dataclass(frozen=True)
class StudySnapshot:
    """One consistent snapshot of a study, which a claim decides by."""

    study: Row
    spec: StudySpec
    history: History
    usage: BudgetUsage
    ineligibility: str | None
    """What this worker lacks for the study, by its current spec."""
    code: str | None
    """Fingerprint of the code that this worker would train the study with."""
    is_waiting: bool
    """Whether a waiting trial exists that this worker may execute."""
    blocked_by: str | None
    """What a waiting trial needs that this worker may not execute."""
    enqueued: Row | None
    """The configuration that a user enqueued to be tried next."""
    has_open_preflight: bool
    """Whether the first trial must wait for a preflight to end."""


async def claim(context: Context, request: ClaimRequest) -> Grant | NoTrial:
    """Assign a trial to the worker, or return why there is none and when to ask again.

    Raises:
        DomainError: The worker uses another protocol version, or names a study that does not exist.
    """
    if request.protocol != PROTOCOL_VERSION:
        raise DomainError(
            ErrorCode.PROTOCOL_VERSION,
            f"the worker speaks protocol {request.protocol}, this service {PROTOCOL_VERSION}; "
            "install the same version of both",
        )
    claim_context = await context.database.read(lambda connection: _load_context(connection, context, request))
    if not claim_context.seen_recently:
        await context.transact(None, lambda unit_of_work: upsert_worker(unit_of_work, request))
    if isinstance(claim_context.granted, StudyFault):
        await pause_for(context, claim_context.granted)
        reason = f"the grant of this request cannot be read again: {claim_context.granted.reason}"
        return NoTrial(reason=reason, retry_seconds=context.limits.retry_seconds)
    if claim_context.granted is not None:
        return claim_context.granted
    if claim_context.quarantine is not None:
        reason = f"quarantined: {claim_context.quarantine}; repair it, then: study readmit {request.worker}"
        return NoTrial(reason=reason, retry_seconds=context.limits.retry_seconds)
    reasons = claim_context.unmet
    for name, fault in claim_context.faults.items():
        await pause_for(context, fault)
        reasons.append(f"{name}: {fault.reason}")
    patience = Patience(context.limits.suggest_seconds)
    for study in claim_context.candidates:
        answer = await isolated(
            context, study.id, "claim", partial(_claim_in_turn, context, study.id, request, patience)
        )
        if isinstance(answer, Grant):
            return answer
        reasons.append(f"{study.name}: {answer.reason if isinstance(answer, StudyFault) else answer}")
    return await _no_trial(context, request, reasons)


def _load_context(connection: Connection, context: Context, request: ClaimRequest) -> ClaimContext:
    rows = None if request.studies is None else [find_study(connection, name) for name in request.studies]
    named = None if rows is None else [row.id for row in rows]
    candidates: list[Row] = []
    # Tell a worker that names a study why that study is paused: otherwise it would wait without knowing why.
    lacking = [f"{row.name} is paused: {row.state_reason}" for row in rows or [] if row.state == StudyState.PAUSED]
    faults: dict[str, StudyFault] = {}
    excluded = exclusions.reasons_of_host(connection, request.host or request.worker)
    for row in fair_share.order_by_fair_share(
        connection, studies.claimable(connection, named), context.database.dialect.now
    ):
        found = guarded(row.id, "claim", partial(_is_eligible, connection, context, row, request, excluded.get(row.id)))
        if isinstance(found, StudyFault):
            faults[row.name] = found
        elif isinstance(found, str):
            lacking.append(f"{row.name}: {found}")
        elif found:
            candidates.append(row)
    return ClaimContext(
        granted=_granted_before(connection, context, request),
        seen_recently=seen_recently(connection, context, request),
        quarantine=attempts.quarantine_of(connection, request.worker, request.host),
        candidates=candidates,
        unmet=lacking,
        faults=faults,
    )


def _is_eligible(
    connection: Connection, context: Context, study: Row, request: ClaimRequest, excluded: str | None
) -> bool | str:
    """Return whether the worker executes the study's task, or why it gets no trials of the study.

    `excluded`: why its host is excluded from the study, if it is.
    """
    if excluded is not None:
        return exclusion_reason(request.host or request.worker, excluded)
    spec = studies.spec(connection, study.id, study.spec_version)
    lacked = ineligibility(connection, context, spec, request.capabilities)
    return lacked if lacked is not None else spec.task_kind in request.capabilities.tasks


def _granted_before(connection: Connection, context: Context, request: ClaimRequest) -> Grant | StudyFault | None:
    """Return the earlier response to this request, or the study's fault if that response cannot be read now."""
    granted = leases.claimed(connection, request.request_id)
    if granted is None:
        return None
    return guarded(granted.study_id, "claim", partial(_granted, connection, context, request))


def _granted(connection: Connection, context: Context, request: ClaimRequest) -> Grant | None:
    """Return the earlier response to the same request, whose reply was lost or which is being processed twice."""
    granted = leases.claimed(connection, request.request_id)
    if granted is None:
        return None
    if granted.worker != request.worker:
        raise DomainError(
            ErrorCode.CLAIM_CONFLICT,
            f"request id {request.request_id!r} is worker {granted.worker}'s; make a new random one for every claim",
        )
    return build_grant(connection, context, granted.trial_id, granted.attempt)


async def _no_trial(context: Context, request: ClaimRequest, reasons: list[str]) -> NoTrial:
    def over(connection: Connection) -> bool:
        named = [studies.find(connection, name) for name in request.studies or []]
        return bool(named) and all(row is not None and row.state in FINISHED_STUDIES for row in named)

    done = await context.database.read(over)
    if done:
        reason = "the named studies are over"
    else:
        reason = "; ".join(reasons) or "no active study has a task that this worker executes"
    return NoTrial(reason=reason, retry_seconds=context.limits.retry_seconds, done=done)


class Patience:
    """Limits how long one claim waits for suggestions, over all studies together."""

    def __init__(self, seconds: float) -> None:
        self._until = asyncio.get_running_loop().time() + seconds

    @property
    def seconds(self) -> float:
        """How long to wait for the next suggestion."""
        return max(self._until - asyncio.get_running_loop().time(), _LEAST_WAIT_SECONDS)


async def _claim_in_turn(context: Context, study_id: str, request: ClaimRequest, patience: Patience) -> Grant | str:
    """Get a trial of one study once this claim holds the study's lock, or return why there is none now."""
    lock = context.claim_lock(study_id)
    try:
        async with asyncio.timeout(context.limits.turn_seconds):
            await lock.acquire()
    except TimeoutError:
        return "busy with other claims; ask again"
    try:
        return await _claim_from(context, study_id, request, patience)
    except DomainError as error:
        if error.code not in _SKIPPED:
            raise
        return error.detail
    except MemoryError:
        log.exception("a claim skips study %s: not enough memory for its strategy", study_id)
        return "not enough memory for its strategy; ask again"
    except OSError as error:
        log.exception("a claim skips study %s: a file could not be read", study_id)
        return f"a file could not be read: {error.strerror or error}"
    finally:
        lock.release()


async def _claim_from(context: Context, study_id: str, request: ClaimRequest, patience: Patience) -> Grant | str:
    """Get a trial of one study, or return why there is none now."""
    for _ in range(_MAX_ROUNDS):
        answer = await _claim_once(context, study_id, request, patience)
        if answer is not None:
            return answer
    return f"the study changed {_MAX_ROUNDS} times while this claim decided; ask again"


async def _claim_once(context: Context, study_id: str, request: ClaimRequest, patience: Patience) -> Grant | str | None:
    """Load a snapshot, decide outside any transaction, and write in a short one.

    Returns:
        The grant, or why there is no trial now. None: the study changed in between, so try again.
    """
    snapshot = await context.database.read(lambda connection: _load_snapshot(connection, context, study_id, request))
    if (refusal := _refusal(snapshot)) is not None:
        return refusal
    snapshot, decision = await _decide(context, snapshot, patience)
    if isinstance(decision, decide.Wait):
        return snapshot.blocked_by or decision.reason
    if isinstance(decision, decide.Done):
        reason = decision.reason
        await context.transact(
            study_id, lambda unit_of_work: complete_study(unit_of_work, snapshot.spec, snapshot.history, reason)
        )
        context.histories.forget(study_id)
        return snapshot.blocked_by or reason
    return await context.transact(
        study_id, lambda unit_of_work: _commit_decision(unit_of_work, context, request, snapshot, decision)
    )


def _refusal(snapshot: StudySnapshot) -> str | None:
    """Return why the worker gets no trial of the study, whatever its sampler would suggest; or None."""
    if snapshot.study.stop_requested_at is not None:
        return "the study is being stopped"
    if snapshot.study.state != StudyState.ACTIVE:
        return f"the study is {snapshot.study.state}"
    return code_mismatch(snapshot.spec, snapshot.study.code_fingerprint, snapshot.code) or snapshot.ineligibility


def _load_snapshot(connection: Connection, context: Context, study_id: str, request: ClaimRequest) -> StudySnapshot:
    study = studies.by_id(connection, study_id)
    spec = studies.spec(connection, study_id, study.spec_version)
    waiting, needs = next_assignable(connection, context, study_id, spec.task_kind, request)
    return StudySnapshot(
        study=study,
        spec=spec,
        history=context.histories.latest(connection, study_id, spec.primary_objective.metric),
        usage=_budget_usage(connection, context, study, spec),
        ineligibility=ineligibility(connection, context, spec, request.capabilities),
        code=code_for(spec, request.capabilities, context.catalogue),
        is_waiting=waiting is not None,
        blocked_by=needs,
        enqueued=studies.next_enqueued(connection, study_id),
        # Only the first trial waits for a preflight, so later claims need no query.
        has_open_preflight=study.next_number == 0 and preflights.has_open(connection, study_id),
    )


def _budget_usage(connection: Connection, context: Context, study: Row, spec: StudySpec) -> BudgetUsage:
    """Return how much of its budget the study has used; skip the query if it has only a budget of trials."""
    if not has_stopping_limits(spec.budget):
        return NO_USAGE
    return budget_usage.budget_usage(connection, study, spec, context.database.dialect.now(connection))


class RunWaitingTrial:
    """Decision to execute a waiting trial."""


async def _decide(
    context: Context, snapshot: StudySnapshot, patience: Patience
) -> tuple[StudySnapshot, RunWaitingTrial | decide.Decision]:
    """Decide what this claim gets; return the decision with the snapshot that it is based on."""
    if snapshot.is_waiting:
        return snapshot, RunWaitingTrial()
    if snapshot.has_open_preflight:
        return snapshot, decide.Wait("its preflight has not ended; the first trial begins after it")
    enqueued = snapshot.enqueued
    known = snapshot.history

    def compute() -> tuple[StudySnapshot, decide.Decision]:
        parameters = enqueued.parameters if enqueued is not None else None
        return snapshot, decide.next_action(known, snapshot.spec, snapshot.usage, enqueued=parameters)

    while True:
        decided = await context.suggestions.compute(
            snapshot.study.id,
            (known.epoch, snapshot.study.spec_version, known.next_number, enqueued.id if enqueued else None),
            compute,
            limit_seconds=context.limits.suggest_seconds,
            wait_seconds=patience.seconds,
        )
        if isinstance(decided, Late):
            return snapshot, decide.Wait(f"{decided.reason}; ask again")
        earlier, decision = decided
        if earlier is snapshot:
            return decided
        # This result was computed for an earlier claim that stopped waiting. A suggestion stays valid while its number
        # is the next one.
        if isinstance(decision, decide.Suggest):
            made_from = replace(snapshot, study=earlier.study, spec=earlier.spec, history=earlier.history)
            return made_from, decision


def _commit_decision(
    unit_of_work: UnitOfWork,
    context: Context,
    request: ClaimRequest,
    snapshot: StudySnapshot,
    decision: RunWaitingTrial | decide.Suggest | Promote | decide.Propose,
) -> Grant | None:
    """Write the decision if it is still valid; None: the study has changed, and the claim decides again."""
    study, connection = unit_of_work.study, unit_of_work.connection
    granted = _granted(connection, context, request)
    if granted is not None:
        return granted
    if study.state != StudyState.ACTIVE or study.stop_requested_at is not None:
        return None
    if code_mismatch(snapshot.spec, study.code_fingerprint, snapshot.code) is not None:
        return None
    if not isinstance(decision, RunWaitingTrial) and _is_exhausted(unit_of_work, snapshot):
        return None
    trial = _trial_for(unit_of_work, context, snapshot, decision, request)
    if trial is None:
        return None
    number = start_attempt(unit_of_work, context, request, snapshot.spec, trial)
    return build_grant(connection, context, trial.id, number)


def _is_exhausted(unit_of_work: UnitOfWork, snapshot: StudySnapshot) -> bool:
    """Return whether a budget was used up since the snapshot, by trials that ended or by time."""
    spec, connection = snapshot.spec, unit_of_work.connection
    if not has_stopping_limits(spec.budget):
        return False
    now = history.refresh(connection, unit_of_work.study.id, spec.primary_objective.metric, snapshot.history)
    used = budget_usage.budget_usage(connection, unit_of_work.study, spec, unit_of_work.now())
    return exhausted_reason(spec, now, used) is not None


def _begin_suggested(
    unit_of_work: UnitOfWork, snapshot: StudySnapshot, suggestion: Suggestion, request: ClaimRequest
) -> Row | None:
    """Insert the suggested trial; None: it is infeasible in advance and has ended, so the claim decides again."""
    trial = insert_trial(unit_of_work, snapshot.spec, snapshot.history, suggestion)
    if suggestion.new_stage is not None:
        begin_stage(unit_of_work, suggestion.new_stage)
    if snapshot.enqueued is not None:
        taken = tables.enqueued_trial.update().where(tables.enqueued_trial.c.id == snapshot.enqueued.id)
        unit_of_work.connection.execute(taken.values(trial_id=trial.id))
    elif give_up_if_too_large(unit_of_work, snapshot.spec, trial, request.capabilities):
        return None
    return trial


def _trial_for(
    unit_of_work: UnitOfWork,
    context: Context,
    snapshot: StudySnapshot,
    decision: RunWaitingTrial | decide.Suggest | Promote | decide.Propose,
    request: ClaimRequest,
) -> Row | None:
    study, known = unit_of_work.study, snapshot.history
    # A suggestion is valid while its number is the next one and the spec that it is based on is the current one.
    is_fresh = study.spec_version == snapshot.study.spec_version and study.next_number == known.next_number
    match decision:
        case RunWaitingTrial():
            kind = snapshot.spec.task_kind
            return next_assignable(unit_of_work.connection, context, study.id, kind, request)[0]
        case decide.Suggest():
            return _begin_suggested(unit_of_work, snapshot, decision.suggestion, request) if is_fresh else None
        case Promote():
            if study.spec_version != snapshot.study.spec_version:
                return None
            promote(unit_of_work, snapshot.spec, known, decision)
            # A promoted trial waits like any other; the usual checks decide whether this worker may continue it.
            kind = snapshot.spec.task_kind
            return next_assignable(unit_of_work.connection, context, study.id, kind, request)[0]
        case decide.Propose():
            request_review(unit_of_work, known, decision)
            return None
        case _:
            assert_never(decision)
