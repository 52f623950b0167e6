"""Simulated users: they pause, stop, extend, enqueue and repair, and one guesses nonces."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from service.contract.attempt import CheckpointRequest, FinishRequest, HeartbeatRequest, HeldLease, Outcome
from service.contract.problem import ErrorCode
from service.contract.report import Point, ReportRequest
from service.contract.stage import ReviewRequest
from service.contract.study import EnqueueRequest, ExtendRequest, StudySpec
from service.domain.errors import DomainError
from service.usecases.context import Context
from service.usecases.deployment import ensure_deployment
from service.usecases.quarantine import lift_quarantine
from service.usecases.studies import creation, lifecycle
from service.usecases.studies.enqueue import enqueue
from service.usecases.studies.stages import review_stage
from tests.simulation.client_record import Call
from tests.simulation.oracles import database_view

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario

REPAIR_SECONDS = 40.0
"""How often somebody looks after what waits for a person."""


async def install(world: Scenario) -> None:
    """Start the service for the first time, however often it takes."""
    while True:
        try:
            await world.replicas[0].context.transact(None, ensure_deployment)
            return
        except sa.exc.OperationalError:
            continue
        except DomainError as error:
            if error.code is not ErrorCode.BUSY:
                raise


async def create(world: Scenario, spec: StudySpec) -> None:
    """Begin a study, however often it takes."""
    while True:
        try:
            await creation.create_study(world.replicas[0].context, spec)
            return
        except sa.exc.OperationalError:
            continue
        except DomainError as error:
            if error.code is ErrorCode.STUDY_EXISTS:
                return  # it was created, but the answer was lost
            if error.code is not ErrorCode.BUSY:
                raise


def deeds(world: Scenario) -> Iterator[Coroutine[Any, Any, None]]:
    """What people do while things go wrong."""
    for deed, name in world.plan.deeds:
        yield _person(world, deed, name)
    yield _foreigner(world)


async def _person(world: Scenario, deed: str, name: str) -> None:
    await asyncio.sleep(world.chance.uniform(5, 150))
    await _do(world, deed, name)
    if deed == "pause":
        await asyncio.sleep(world.chance.uniform(5, 100))
        await _do(world, "resume", name)


async def look_after(world: Scenario) -> None:
    """Repair code that failed and resume, accept boxes, readmit workers; for as long as the world lasts."""
    while True:
        await asyncio.sleep(world.chance.uniform(0.5, 1.5) * REPAIR_SECONDS)
        for (name,) in database_view.rows("SELECT name FROM worker WHERE quarantined_at IS NOT NULL ORDER BY name"):
            await _do(world, "readmit", name)
        for (name,) in database_view.rows("SELECT name FROM study WHERE pause_cause = 'failures' ORDER BY name"):
            world.broken.discard(name)
            await _do(world, "resume", name)
        for (name,) in database_view.rows("SELECT name FROM study WHERE pause_cause = 'review' ORDER BY name"):
            await _do(world, "accept", name)


async def resume_all(world: Scenario) -> None:
    """Resume whatever is paused."""
    for name in world.plan.specs:
        await _do(world, "resume", name)


async def _do(world: Scenario, deed: str, name: str) -> None:
    for _ in range(20):
        context = world.any_context()
        if context is None:
            return
        try:
            await _carry_out(world, context, deed, name)
        except sa.exc.OperationalError:
            continue
        except DomainError:
            return  # the study is not in a state for that, or an answer was lost and it is done already
        return


async def _carry_out(world: Scenario, context: Context, deed: str, name: str) -> None:
    chance = world.chance
    match deed:
        case "pause":
            await lifecycle.pause_study(context, name, "")
        case "resume":
            await lifecycle.resume_study(context, name)
        case "accept":
            await review_stage(context, name, 1, ReviewRequest())
        case "stop":
            await lifecycle.stop_study(context, name, "")
        case "readmit":
            await lift_quarantine(context, name)
        case "extend":
            budget = (world.plan.specs[name].budget.trials or 0) + chance.choice([2, 3, 5])
            await lifecycle.extend_study(context, name, ExtendRequest(trials=budget))
            world.record.extended.append((name, budget))
        case "enqueue":
            for _ in range(chance.choice([1, 2, 3])):
                rate, priority = chance.choice([0.001, 0.01]), chance.choice([0, 0, 1])
                wanted = EnqueueRequest(parameters={"lr": rate}, priority=priority)
                world.record.enqueued.append((await enqueue(context, name, wanted)).id)


async def _foreigner(world: Scenario) -> None:
    """Somebody who guesses nonces, or knows one and tells another end: what this one sends must be refused."""
    ended = "CASE WHEN state IN ('running', 'lost') THEN NULL ELSE nonce END"
    query = f"SELECT trial_id, number, num_reports, last_step, {ended} FROM attempt ORDER BY 1, 2"
    while True:
        await asyncio.sleep(world.chance.uniform(5, 60))
        attempts = database_view.rows(query)
        up = [replica for replica in world.replicas if replica.is_up]
        if not attempts or not up:
            continue
        trial, number, num_reports, last_step, known = world.chance.choice(attempts)
        nonce, step = world.new_id(), (last_step or 0) + 1
        points = [Point(step=step, metrics={"loss": -1.0})]
        another_end = Outcome(result="succeeded", message="told by somebody else")
        request = world.chance.choice(
            [
                FinishRequest(nonce=known or nonce, outcome=another_end),
                ReportRequest(nonce=nonce, sequence=num_reports + 1, points=points),
                CheckpointRequest(nonce=nonce, step=last_step or 0, sha256="f" * 64, size=1, uri="x"),
                HeartbeatRequest(worker="w0", leases=[HeldLease(trial=trial, attempt=number, nonce=nonce)]),
            ]
        )
        token = trial, number, known or nonce if isinstance(request, FinishRequest) else nonce
        call = Call(request, token, is_foreign=True)
        world.chance.choice(up).serve(call, lambda _: None)
