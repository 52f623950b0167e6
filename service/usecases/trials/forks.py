"""Forks: trials outside the search that start from another trial's checkpoint with changed parameters."""

from __future__ import annotations

from service.contract.attempt import BLOB
from service.contract.problem import ErrorCode, FieldError
from service.contract.study import StudySpec, StudyState
from service.contract.teacher import TEACHER, is_path
from service.contract.trial import ForkRequest, TrialKind, TrialList, TrialView
from service.domain.errors import DomainError
from service.domain.forks import external_fork_parameters, fork_parameters
from service.domain.rungs import rungs_of
from service.domain.states import StudyEvent
from service.search import decide
from service.storage.queries import checkpoints, studies, trials, views
from service.storage.tables import Connection, Row
from service.storage.unit_of_work import UnitOfWork
from service.usecases.begin_trial import begin_trial
from service.usecases.blobs import is_stored
from service.usecases.catalogue import merged_catalogue
from service.usecases.context import Context
from service.usecases.studies.study_lookup import find_study
from service.usecases.studies.teachers import TeacherUnavailable, find_teacher
from service.usecases.trials.trial_lookup import find_trial


async def fork_trial(context: Context, name: str, key: str, request: ForkRequest) -> TrialView:
    """Create a waiting trial that continues from a checkpoint of trial `key`.

    A completed study becomes active until the fork has ended.

    Raises:
        DomainError: There is no such trial or checkpoint, a change is invalid, or the study was stopped.
    """
    study_id = (await context.database.read(lambda connection: find_study(connection, name))).id

    def work(unit_of_work: UnitOfWork) -> TrialView:
        study, connection = unit_of_work.study, unit_of_work.connection
        if study.stop_requested_at is not None:
            message = f"the study was stopped; extend it first (study extend {study.name} --trials N)"
            raise DomainError(ErrorCode.STUDY_STATE, message)
        parent = find_trial(connection, study, key)
        spec = studies.spec(connection, study.id, parent.spec_version)
        parameters = _parameters(context, connection, spec, parent, request)
        run_until = _run_until(spec, parent, request)
        saved = _checkpoint(context, connection, parent, request.at, run_until)
        _keep(context, saved)
        changed = ", ".join(f"{name}={value}" for name, value in request.set.items())
        fork = begin_trial(
            unit_of_work,
            kind=TrialKind.FORK,
            number=None,
            spec_version=parent.spec_version,
            history_revision=study.revision,
            parameters=parameters,
            suggestion_reason=f"forked from {trials.title(parent)} at step {saved.step} with {changed}",
            notes={"checkpoint": saved.sha256},
            stage=parent.stage,
            seed=parent.seed,
            run_until=run_until,
            parent_id=parent.id,
            parent_step=saved.step,
            priority=request.priority,
        )
        if study.state == StudyState.COMPLETED:
            reason = f"a fork of {trials.title(parent)} is to be trained"
            unit_of_work.advance_study(StudyEvent.EXTENDED, reason=reason, finished_at=None)
        return views.trial_view(fork)

    return await context.transact(study_id, work)


def check_fork(context: Context, connection: Connection, study: Row, key: str, request: ForkRequest) -> None:
    """Check on one snapshot whether trial `key` can be forked so.

    Raises:
        DomainError: There is no such trial or checkpoint, or a change is invalid.
    """
    parent = find_trial(connection, study, key)
    spec = studies.spec(connection, study.id, parent.spec_version)
    _parameters(context, connection, spec, parent, request)
    _checkpoint(context, connection, parent, request.at, _run_until(spec, parent, request))


async def list_forks(context: Context, name: str) -> TrialList:
    """Return the forks of a study's trials, oldest first."""

    def read(connection: Connection) -> TrialList:
        study = find_study(connection, name)
        found, damaged = views.trial_views(trials.forks(connection, study.id))
        return TrialList(revision=study.revision, trials=found, damaged=damaged)

    return await context.database.read_for_viewer(read)


def _parameters(
    context: Context, connection: Connection, spec: StudySpec, parent: Row, request: ForkRequest
) -> dict[str, object]:
    if spec.task is not None and spec.task.train is not None:
        overrides, changes = decide.overrides_of(spec, parent.stage), dict(request.set)
        catalogue = merged_catalogue(connection, context)
        found, errors = fork_parameters(spec.task.train, overrides, parent.parameters, changes, catalogue)
        teacher = changes.get(TEACHER)
        if not errors and isinstance(teacher, str) and not is_path(teacher):
            try:
                found[TEACHER] = find_teacher(context, connection, spec.project, teacher)
            except TeacherUnavailable as error:
                raise _refused(f"set.{TEACHER}", str(error)) from None
    else:
        found, errors = external_fork_parameters(spec.space, parent.parameters, request.set)
    if errors:
        raise DomainError(ErrorCode.INVALID_PARAMETERS, f"{errors[0].path}: {errors[0].message}", errors)
    return dict(found)


def _run_until(spec: StudySpec, parent: Row, request: ForkRequest) -> int | None:
    """Return the step to train to: the parent's final step, unless the request sets the number of epochs."""
    if parent.run_until is None:
        return None
    epochs = request.set.get("epochs") if spec.task is not None and spec.task.train is not None else None
    if isinstance(epochs, int):
        return epochs
    rungs = rungs_of(spec)
    return parent.run_until if rungs is None else rungs.last


def _checkpoint(context: Context, connection: Connection, parent: Row, at: int | None, end: int | None) -> Row:
    """Return the parent's checkpoint at the end of step `at`, or its newest one before `end`."""
    saved = checkpoints.whole(checkpoints.canonical(connection, parent.id))
    if not saved:
        message = (
            f"{trials.title(parent)} has saved no checkpoint at the end of a step, because none was due yet; "
            "fork one that trains longer, or let workers save more often (ASSAYER_CHECKPOINT_SECONDS)"
        )
        raise DomainError(ErrorCode.STUDY_STATE, message)
    kept = [each for each in saved if is_stored(context, each)]
    if not kept:
        message = f"{trials.title(parent)} has no checkpoint that is still kept; fork a running trial, or the best one"
        raise DomainError(ErrorCode.STUDY_STATE, message)
    if at is not None:
        found = next((saved for saved in kept if saved.step == at), None)
    else:
        found = next((saved for saved in kept if end is None or saved.step < end), kept[0])
    if found is None:
        steps = ", ".join(str(saved.step) for saved in reversed(kept))
        raise _refused(
            "at", f"{trials.title(parent)} has no checkpoint of step {at}; it has checkpoints of these steps: {steps}"
        )
    if end is not None and found.step >= end:
        raise _refused("at", f"step {found.step} is the end of the training, {end}; fork earlier, or set more epochs")
    return found


def _keep(context: Context, saved: Row) -> None:
    """Touch the blob of a checkpoint, so that it is not collected before the fork refers to it."""
    if saved.uri.startswith(BLOB) and context.blobs is not None:
        context.blobs.touch(saved.sha256)


def _refused(path: str, message: str) -> DomainError:
    return DomainError(ErrorCode.INVALID_PARAMETERS, f"{path}: {message}", [FieldError(path=path, message=message)])
