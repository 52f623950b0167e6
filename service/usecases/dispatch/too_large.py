"""Gives up a new trial that is infeasible in advance, because its preflight ran out of memory with less."""

from __future__ import annotations

from service.contract.capabilities import Capabilities
from service.contract.study import StudySpec
from service.domain.memory_limits import describe_limit, exceeded_limit
from service.domain.placement import exceeds_gpu_memory
from service.domain.states import TrialEvent
from service.storage.queries import attempts
from service.storage.queries.views import ALIVE_SECONDS
from service.storage.tables import Row
from service.storage.timestamps import MICROSECONDS
from service.storage.unit_of_work import UnitOfWork


def give_up_if_too_large(unit_of_work: UnitOfWork, spec: StudySpec, trial: Row, capabilities: Capabilities) -> bool:
    """End a new trial as infeasible if it needs more memory than any GPU here has; return whether it was ended.

    While a larger GPU is alive, the trial is executed as usual: if it runs out of memory, it waits for that one. The
    same holds for a slot of several GPUs, which share a batch, and for one without a GPU.
    """
    limits = spec.constraints.memory if spec.constraints is not None else None
    if not limits or [device.kind for device in capabilities.devices] != ["cuda"]:
        return False
    limit = exceeded_limit(limits, trial.parameters)
    if limit is None:
        return False
    since = unit_of_work.now() - ALIVE_SECONDS * MICROSECONDS
    largest = attempts.largest_gpu_gib(unit_of_work.connection, since, trial.study_id)
    if exceeds_gpu_memory(limit.gpu_memory_gib, largest):
        return False
    unit_of_work.advance_trial(
        trial, TrialEvent.GIVEN_UP, reason=describe_limit(limit), infeasible=True, finished_at=unit_of_work.now()
    )
    return True
