"""Deletion of studies: hides a study and frees its name at once; maintenance removes its rows later in batches."""

from __future__ import annotations

from service.clock import sleep
from service.contract.problem import ErrorCode
from service.contract.study import DeleteReply
from service.contract.trial import TrialState
from service.domain.errors import DomainError
from service.storage.queries import checkpoints, studies, trials
from service.storage.removal import remove_rows
from service.storage.timestamps import MICROSECONDS
from service.storage.unit_of_work import UnitOfWork
from service.usecases.context import Context
from service.usecases.studies.study_lookup import find_study

_NUM_ROWS = 2_000
"""Rows removed per transaction. This takes tens of milliseconds on SQLite, during which no other writer can write."""

_PAUSE_SECONDS = 0.02
"""Pause between two such transactions, in which waiting writers get their turn."""

_NUM_NAMED = 5
"""How many running trials the error message names."""


async def delete_study(context: Context, name: str) -> DeleteReply:
    """Delete a study with everything that belongs to it.

    Its blobs are deleted by the usual retention once nothing refers to them.

    Raises:
        DomainError: A trial of the study is running, or an unfinished study uses one of its trials as a teacher.
    """
    study_id = (await context.database.read(lambda connection: find_study(connection, name))).id

    def work(unit_of_work: UnitOfWork) -> DeleteReply:
        study = unit_of_work.study
        _refuse_running(unit_of_work)
        _refuse_teachers(unit_of_work)
        unit_of_work.record("study_deleted", data={"name": study.name})
        # The name becomes free now. The study's id replaces it, because no other study has this id as its name.
        unit_of_work.set_study(deleted_at=unit_of_work.now(), name=study.id)
        return DeleteReply(id=study.id, name=study.name)

    reply = await context.transact(study_id, work)
    context.histories.forget(study_id)
    return reply


def _refuse_running(unit_of_work: UnitOfWork) -> None:
    study, connection = unit_of_work.study, unit_of_work.connection
    running = trials.in_states(connection, study.id, [TrialState.RUNNING])
    if not running:
        return
    named = [trials.title(each) for each in running[:_NUM_NAMED]]
    if len(running) > _NUM_NAMED:
        named.append(f"{len(running) - _NUM_NAMED} more")
    key = running[0].id if running[0].number is None else running[0].number
    message = (
        f"{', '.join(named)} of {study.name!r} {'run' if len(running) > 1 else 'runs'}; stop the study and wait "
        f"(study stop {study.name}), or free a trial whose worker is gone (study release {study.name} {key})"
    )
    raise DomainError(ErrorCode.STUDY_STATE, message)


def _refuse_teachers(unit_of_work: UnitOfWork) -> None:
    study, connection = unit_of_work.study, unit_of_work.connection
    for learner_id, learner, project, teacher in checkpoints.teachers_named(connection, set()):
        source = studies.find_named(connection, project, teacher.rpartition("/")[0])
        if learner_id != study.id and source is not None and source.id == study.id:
            message = f"study {learner!r} is not over and learns from {teacher}; stop it, or wait until it is over"
            raise DomainError(ErrorCode.STUDY_STATE, message)


async def remove_deleted(context: Context) -> int:
    """Remove the rows of deleted studies; return how many studies were removed.

    It waits `removal_seconds` after a deletion, so that a request that had found the study before is answered with "it
    was deleted".
    """
    delay = int(context.limits.removal_seconds * MICROSECONDS)

    def look(unit_of_work: UnitOfWork) -> list[str]:
        return studies.deleted(unit_of_work.connection, unit_of_work.now() - delay)

    deleted = await context.transact(None, look)
    for study_id in deleted:

        def work(unit_of_work: UnitOfWork, study_id: str = study_id) -> bool:
            return remove_rows(unit_of_work.connection, study_id, _NUM_ROWS)

        while await context.transact(None, work):
            await sleep(_PAUSE_SECONDS)
    return len(deleted)
