"""Preflights: trials outside the search in which a worker checks a study before its first trial."""

from __future__ import annotations

from service.contract.base import TaskKind
from service.contract.preflight import PreflightResult
from service.contract.preflight_view import PreflightProposal, PreflightView
from service.contract.problem import ErrorCode
from service.contract.space_centre import centre_of
from service.contract.storable import MAX_COUNT
from service.contract.study import PauseCause, StudySpec, StudyState
from service.contract.trial import TrialKind, TrialState
from service.domain.errors import DomainError
from service.domain.states import FINISHED_STUDIES, StudyEvent
from service.search.preflight_edits import rate_edit
from service.search.seeds import trial_seed
from service.storage.damage import reading
from service.storage.queries import preflights, studies
from service.storage.tables import Connection, Row
from service.storage.timestamps import to_datetime
from service.storage.unit_of_work import UnitOfWork
from service.usecases.begin_trial import begin_trial
from service.usecases.context import Context
from service.usecases.studies.study_lookup import find_study


def begin_preflight(unit_of_work: UnitOfWork, spec: StudySpec) -> Row:
    """Insert the waiting trial in which a worker checks the study, around the centre of its space."""
    assert spec.task is not None, "a caller of the API executes the trials of a study without a task"
    return begin_trial(
        unit_of_work,
        kind=TrialKind.PREFLIGHT,
        number=None,
        spec_version=unit_of_work.study.spec_version,
        history_revision=unit_of_work.revision,
        parameters=centre_of(spec.space, spec.task.train or {}),
        suggestion_reason="preflight: the centre of the space, checked before the search spends its budget",
        notes={},
        stage=None,
        seed=trial_seed(spec.sampler.seed, 0),
        run_until=None,
        priority=MAX_COUNT,
    )


async def start_preflight(context: Context, name: str) -> PreflightView:
    """Have a worker check the study (again), by its current spec; while a preflight is open, return that one.

    Raises:
        DomainError: There is no such study, it has ended or is paused, or callers of the API execute its trials.
    """
    study_id = (await context.database.read(lambda connection: find_study(connection, name))).id

    def work(unit_of_work: UnitOfWork) -> PreflightView:
        study, connection = unit_of_work.study, unit_of_work.connection
        spec = studies.spec(connection, study.id, study.spec_version)
        if spec.task_kind is TaskKind.EXTERNAL:
            message = f"study {study.name!r} has no task that a worker could check; its trials are executed by callers"
            raise DomainError(ErrorCode.STUDY_STATE, message)
        if study.state in FINISHED_STUDIES or study.stop_requested_at is not None:
            remedy = f"extend it first (study extend {study.name} --trials N)"
            message = f"study {study.name!r} has ended or is being stopped; {remedy}"
            raise DomainError(ErrorCode.STUDY_STATE, message)
        if study.state == StudyState.PAUSED and study.pause_cause != PauseCause.PREFLIGHT:
            remedy = f"resume it first (study resume {study.name})"
            message = f"study {study.name!r} is paused: {study.state_reason}; {remedy}"
            raise DomainError(ErrorCode.STUDY_STATE, message)
        if not preflights.has_open(connection, study.id):
            begin_preflight(unit_of_work, spec)
        if study.state == StudyState.PAUSED:
            # The new preflight holds the first trial back, so the study need not stay paused.
            unit_of_work.advance_study(StudyEvent.RESUMED, pause_cause=None)
        return _newest(connection, unit_of_work.study)

    return await context.transact(study_id, work)


async def get_preflight(context: Context, name: str) -> PreflightView:
    """Return the study's newest preflight.

    Raises:
        DomainError: There is no such study, or it has no preflight.
    """

    def read(connection: Connection) -> PreflightView:
        return _newest(connection, find_study(connection, name))

    return await context.database.read_for_viewer(read)


def _newest(connection: Connection, study: Row) -> PreflightView:
    trial = preflights.newest(connection, study.id)
    if trial is None:
        message = f"study {study.name!r} has no preflight; start one: study preflight {study.name}"
        raise DomainError(ErrorCode.UNKNOWN_TRIAL, message)
    attempt = preflights.last_attempt(connection, trial.id)
    spec = studies.spec(connection, study.id, trial.spec_version)
    with reading("the preflight", trial):
        outcome = (attempt.outcome if attempt is not None else None) or {}
        stored = outcome.get("preflight")
        result = None if stored is None else PreflightResult.model_validate(stored)
        return PreflightView(
            trial=trial.id,
            state=TrialState(trial.state),
            state_reason=trial.state_reason,
            mode=spec.preflight_mode,
            spec_version=trial.spec_version,
            created_at=to_datetime(trial.created_at),
            finished_at=to_datetime(trial.finished_at),
            worker=None if attempt is None else attempt.worker,
            result=result,
            proposals=[] if result is None else _proposals(connection, study, result),
        )


def _proposals(connection: Connection, study: Row, result: PreflightResult) -> list[PreflightProposal]:
    """Return the edits that the result proposes for the study's current spec."""
    edit = rate_edit(studies.spec(connection, study.id, study.spec_version), result)
    return [] if edit is None else [PreflightProposal(settings=dict(edit.settings), reason=edit.reason)]
