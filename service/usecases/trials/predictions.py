"""Predictions of a study's best trials: registers them after an attempt and finds them again."""

from __future__ import annotations

from service.contract.attempt import BLOB
from service.contract.predictions import (
    NUM_KEPT,
    PredictionsList,
    PredictionsReply,
    PredictionsRequest,
    PredictionsView,
)
from service.contract.problem import ErrorCode
from service.contract.study import StudySpec
from service.contract.trial import AttemptState, TrialState
from service.domain.errors import DomainError
from service.storage import tables
from service.storage.damage import reading, split_damaged
from service.storage.queries import predictions, studies, trials
from service.storage.tables import Connection, Row
from service.storage.unit_of_work import UnitOfWork
from service.usecases.blobs import is_stored, is_uploaded
from service.usecases.context import Context
from service.usecases.fencing import FencedAttempt, find_attempt, trial_of
from service.usecases.studies.study_lookup import find_study
from service.usecases.trials.trial_lookup import find_trial


async def register_predictions(
    context: Context, trial_id: str, number: int, request: PredictionsRequest
) -> PredictionsReply:
    """Store the predictions of an attempt that has ended, or return why they are not kept.

    Repeating the request changes nothing. A worker whose predictions are not kept need not upload them.

    Raises:
        DomainError: The lease is superseded; the attempt has not ended; other predictions are stored already; or their
            blob is missing.
    """

    def read(connection: Connection) -> tuple[str, StudySpec, set[str]]:
        study_id = trial_of(connection, trial_id).study_id
        spec = studies.spec(connection, study_id, studies.by_id(connection, study_id).spec_version)
        return study_id, spec, predictions.kept_for(connection, study_id, spec)

    # A trial outside the best ones never becomes one of them, so check before taking the lock.
    study_id, spec, kept_for = await context.database.read(read)

    def work(unit_of_work: UnitOfWork) -> PredictionsReply:
        fenced = find_attempt(unit_of_work, trial_id, number, request.nonce)
        if fenced.attempt.state in (AttemptState.RUNNING, AttemptState.LOST):
            message = (
                f"attempt {number} of {trials.title(fenced.trial)} has not ended yet; finish it, then register them"
            )
            raise DomainError(ErrorCode.REPORT_ORDER, message)
        if fenced.trial.state != TrialState.COMPLETED or fenced.attempt.state != AttemptState.SUCCEEDED:
            return PredictionsReply(kept=False, reason=f"{trials.title(fenced.trial)} is {fenced.trial.state}")
        if trial_id not in kept_for:
            return PredictionsReply(kept=False, reason=f"{trials.title(fenced.trial)} is not {_kept(spec)}")
        if not _is_stored(unit_of_work, fenced, request):
            if not is_uploaded(context, request.sha256, request.size):
                message = (
                    f"there is no blob {request.sha256} of {request.size} bytes; upload it, then register it again"
                )
                raise DomainError(ErrorCode.BLOB_MISSING, message)
            _store(unit_of_work, fenced, request)
        return PredictionsReply(kept=True)

    return await context.transact(study_id, work)


def _kept(spec: StudySpec) -> str:
    return "on the front" if len(spec.objectives) > 1 else f"among the best {NUM_KEPT} trials"


def _is_stored(unit_of_work: UnitOfWork, fenced: FencedAttempt, request: PredictionsRequest) -> bool:
    stored = predictions.of_trial(unit_of_work.connection, fenced.trial.id)
    if stored is not None and stored.sha256 != request.sha256:
        raise DomainError(
            ErrorCode.REPORT_CONFLICT,
            f"the predictions of {trials.title(fenced.trial)} are already {stored.sha256}, and {request.sha256} was "
            "sent now; a trial has one predictions file",
        )
    return stored is not None


def _store(unit_of_work: UnitOfWork, fenced: FencedAttempt, request: PredictionsRequest) -> None:
    unit_of_work.insert(
        tables.artifact,
        id=unit_of_work.new_id(),
        study_id=fenced.trial.study_id,
        trial_id=fenced.trial.id,
        attempt=fenced.attempt.number,
        kind=predictions.KIND,
        name=predictions.KIND,
        sha256=request.sha256,
        size=request.size,
        uri=f"{BLOB}{request.sha256}",
        created_at=unit_of_work.now(),
    )


async def list_predictions(context: Context, name: str) -> PredictionsList:
    """Return the trials of a study whose predictions are available."""

    def read(connection: Connection) -> list[Row]:
        study = find_study(connection, name)
        rows = predictions.of_study(connection, study.id, studies.spec(connection, study.id, study.spec_version))
        return [row for row in rows if is_stored(context, row)]

    rows = await context.database.read_for_viewer(read)
    found, damaged = split_damaged(rows, _view, lambda row: row.trial_id if row.number is None else row.number)
    return PredictionsList(trials=found, damaged=damaged)


def _view(row: Row) -> PredictionsView:
    with reading(f"the predictions of trial {row.trial_id if row.number is None else row.number}", row):
        return PredictionsView(
            trial=row.trial_id,
            number=row.number,
            values=row._mapping["values"],  # noqa: SLF001 - see views
            sha256=row.sha256,
            size=row.size,
        )


async def find_predictions(context: Context, name: str, key: str) -> Row:
    """Return the artifact with a trial's predictions.

    Raises:
        DomainError: There is no such study or trial, or its predictions are not kept.
    """

    def read(connection: Connection) -> Row:
        study = find_study(connection, name)
        trial = find_trial(connection, study, key)
        found = predictions.of_trial(connection, trial.id)
        if found is not None and is_stored(context, found):
            return found
        why = _why_none(studies.spec(connection, study.id, study.spec_version), trial, were_kept=found is not None)
        message = f"there are no predictions of {trials.title(trial)}: {why}; `study predictions {name}` lists all"
        raise DomainError(ErrorCode.UNKNOWN_PREDICTIONS, message)

    return await context.database.read_for_viewer(read)


def _why_none(spec: StudySpec, trial: Row, *, were_kept: bool) -> str:
    if trial.state != TrialState.COMPLETED:
        return f"it is {trial.state}, and only completed trials have predictions"
    if were_kept:
        return f"they were kept only while it was {_kept(spec)} and their file was intact"
    return (
        f"a trial's are kept while it is {_kept(spec)}, if its task makes some; "
        "those of one that has just ended may be on their way"
    )
