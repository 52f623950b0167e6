"""A simulated training: a learning curve, and sometimes a failure."""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING, Any

from service.contract.attempt import FailureClass, MemoryShortage, Outcome
from service.contract.claim import Grant
from tests.simulation.plan import WorkerPlan

if TYPE_CHECKING:
    from tests.simulation.client_record import Token
    from tests.simulation.scenario import Scenario

_ENDS = (
    *[FailureClass.PROCESS_KILLED] * 6,
    *[FailureClass.USER_EXCEPTION] * 3,
    *[FailureClass.HUNG] * 2,
    *[FailureClass.OUT_OF_MEMORY] * 2,
    FailureClass.PREEMPTED,
    FailureClass.DIVERGED,
    FailureClass.INFEASIBLE,
    FailureClass.INVALID,
)
"""How often a training that ends badly does so in which way."""

_TRACEBACK = 'Traceback (most recent call last):\n  File "/code/train.py", line 1, in step\n{name}: said the code\n'


def ending_before(world: Scenario, worker: WorkerPlan, grant: Grant, step: int) -> Outcome | None:
    """How the training ends before this step, if it does."""
    first = grant.resume.step + 1 if grant.resume else 1
    if step == first and (end := _ending_at_once(world, worker, grant)) is not None:
        return end
    if world.chance.random() >= world.faults.failing_step:
        return None
    failure = world.chance.choice(_ENDS)
    match failure:
        case FailureClass.USER_EXCEPTION:
            return _raised(world.chance.choice(["KeyError", "ValueError", "IndexError", "ZeroDivisionError"]))
        case FailureClass.OUT_OF_MEMORY:
            return _failed(failure, shortage=MemoryShortage(place="host"))
    return _failed(failure)


def _ending_at_once(world: Scenario, worker: WorkerPlan, grant: Grant) -> Outcome | None:
    if worker.host in world.bad_hosts:
        return _failed(FailureClass.HOST_FAULT, message="/data/train.npz is not there")
    if grant.study_name in world.broken:
        return _raised("TypeError")
    own = Random(f"{world.seed}/{grant.trial}/demands")
    if own.random() >= world.plan.faults.demanding_trial:
        return None
    needed_gib = own.choice([0.0, 16.0, 16.0, 100.0])
    if not needed_gib:
        return _failed(FailureClass.PROCESS_KILLED, message="takes its process down")
    if not 0 < worker.gpu_gib < needed_gib:
        return None
    others_gib = world.chance.choice([0.0, 0.0, 2.0])
    return _failed(
        FailureClass.OUT_OF_MEMORY,
        shortage=MemoryShortage(place="device", total_gib=worker.gpu_gib, others_gib=others_gib),
    )


def _failed(failure: FailureClass, **facts: Any) -> Outcome:
    return Outcome(result="failed", failure=failure, **facts)


def _raised(name: str) -> Outcome:
    return _failed(FailureClass.USER_EXCEPTION, message=f"{name}: said", traceback=_TRACEBACK.format(name=name))


def middles_before(seed: int, token: Token, grant: Grant, step: int) -> list[int]:
    """The batches of a step after which a checkpoint is saved before the step ends: in most steps none."""
    own = Random(f"{seed}/{token}/{step}/middles")
    resume = grant.resume
    first = resume.batch + 1 if resume is not None and resume.step == step - 1 else 1
    return sorted(own.sample(range(first, first + 9), own.choice([0, 0, 0, 1, 2])))


def value_at(seed: int, token: Token, rate: Any, step: int) -> float:
    """What an attempt's training measures at a step: a curve of its own, now and then one that diverges."""
    own = Random(f"{seed}/{token}")
    height, diverges_at = own.uniform(0, 1), own.choice([None] * 15 + [3])
    if diverges_at is not None and step >= diverges_at:
        return math.nan
    return height + abs(math.log10(float(rate)) + 2.5) + 1 / step
