"""Enqueued configurations: the study tries a user's own configuration before the sampler's suggestions."""

from __future__ import annotations

from service.contract.problem import ErrorCode
from service.contract.study import EnqueueReply, EnqueueRequest
from service.domain.errors import DomainError
from service.domain.space import check_parameters
from service.domain.states import FINISHED_STUDIES
from service.storage import tables
from service.storage.queries import studies
from service.storage.unit_of_work import UnitOfWork
from service.usecases.context import Context
from service.usecases.studies.study_lookup import find_study


async def enqueue(context: Context, name: str, request: EnqueueRequest) -> EnqueueReply:
    """Add a configuration to the queue, ordered by highest priority first, then by time of arrival.

    Raises:
        DomainError: The study is over, or the parameters are not valid in its search space.
    """
    study_id = (await context.database.read(lambda connection: find_study(connection, name))).id
    return await context.transact(study_id, lambda unit_of_work: add_to_queue(unit_of_work, request))


def add_to_queue(unit_of_work: UnitOfWork, request: EnqueueRequest) -> EnqueueReply:
    """Add a configuration to the queue of the locked study.

    Raises:
        DomainError: The study is over, or the parameters are not valid in its search space.
    """
    study = unit_of_work.study
    if study.state in FINISHED_STUDIES or study.stop_requested_at is not None:
        state = study.state if study.state in FINISHED_STUDIES else "being stopped"
        message = f"the study is {state}; extend it first (study extend {study.name} --trials N)"
        raise DomainError(ErrorCode.STUDY_STATE, message)
    spec = studies.spec(unit_of_work.connection, study.id, study.spec_version)
    if errors := check_parameters(spec.space, request.parameters):
        detail = f"{errors[0].path}: {errors[0].message}"
        raise DomainError(ErrorCode.INVALID_PARAMETERS, detail, errors)
    num_ahead = studies.num_enqueued(unit_of_work.connection, study.id, at_least=request.priority)
    enqueued_id = unit_of_work.new_id()
    unit_of_work.insert(
        tables.enqueued_trial,
        id=enqueued_id,
        study_id=study.id,
        parameters=request.parameters,
        priority=request.priority,
        created_at=unit_of_work.now(),
        revision=unit_of_work.revision,
    )
    unit_of_work.record("enqueued", data={"parameters": request.parameters, "priority": request.priority})
    return EnqueueReply(id=enqueued_id, num_ahead=num_ahead)
