"""Failures in the database: fingerprints, poison trials, out-of-memory, and studies paused for their failures."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from service.contract.attempt import FailureClass, MemoryShortage
from service.contract.capabilities import Device
from service.contract.claim import Grant, NoTrial
from service.contract.report import Point, ReportRequest
from service.contract.study import StudyState
from service.contract.trial import TrialState
from service.storage import tables
from service.usecases.attempts.report import report
from service.usecases.maintenance.oom_expiry import expire_oom_waiters
from service.usecases.studies.lifecycle import resume_study
from tests.usecases.replica import Replica

pytestmark = pytest.mark.anyio


def raised(line: int, function: str = "build") -> str:
    frame = f'  File "/home/ann/model.py", line {line}, in {function}'
    return f"Traceback (most recent call last):\n{frame}\nKeyError: {line}\n"


async def fail_next(replica: Replica, name: str, line: int = 1, function: str = "build") -> Grant:
    grant = await replica.claim(name)
    traceback = raised(line, function)
    await replica.fail(grant, FailureClass.USER_EXCEPTION, message=f"KeyError: {line}", traceback=traceback)
    return grant


async def fingerprints(replica: Replica) -> list[str | None]:
    query = sa.select(tables.attempt.c.fingerprint).order_by(tables.attempt.c.started_at)
    return await replica.database.read(lambda connection: list(connection.execute(query).scalars()))


async def test_the_first_three_trials_failing_alike_pause_the_study_until_it_is_resumed(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 9})
    for line in (1, 2):
        await fail_next(replica, name, line)
    assert (await replica.study(name)).state is StudyState.ACTIVE
    await fail_next(replica, name, 3)
    study = await replica.study(name)
    assert (study.state, study.state_reason) == (
        StudyState.PAUSED,
        "the first 3 trials all failed with the same error: KeyError: 1",
    )
    assert len(set(await fingerprints(replica))) == 1
    assert (await replica.kinds(name))[-1] == "study_paused"
    cause = await replica.database.read(lambda connection: connection.execute(sa.select(tables.study.c.pause_cause)))
    assert cause.scalar_one() == "failures"
    answer = await replica.ask(name)
    assert isinstance(answer, NoTrial)
    await resume_study(replica.context, name)
    await fail_next(replica, name)  # the past is the past
    assert (await replica.study(name)).state is StudyState.ACTIVE


async def test_trials_that_fail_each_in_its_own_way_do_not(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 9})
    for function in ("build", "load", "save"):
        await fail_next(replica, name, function=function)
    assert (await replica.study(name)).state is StudyState.ACTIVE


@pytest.mark.parametrize("failure", [FailureClass.INVALID, FailureClass.INFEASIBLE])
async def test_the_first_three_trials_ending_with_the_same_mistake_pause_the_study(
    replica: Replica, failure: FailureClass
) -> None:
    name = await replica.create(budget={"trials": 40})
    grants = [await replica.claim(name, worker=f"w{number}") for number in range(8)]
    message = "data.path: there is no file houses.csv"
    for grant in (grants[5], grants[1]):
        await replica.fail(grant, failure, message=message)
    assert (await replica.study(name)).state is StudyState.ACTIVE
    await replica.fail(grants[7], failure, message=message)
    study = await replica.study(name)
    assert study.state is StudyState.PAUSED
    assert study.state_reason == f"the first 3 trials all failed with the same error: {message}"
    answer = await replica.ask(name, worker="w9")
    assert isinstance(answer, NoTrial)
    assert answer.reason == f"{study.name} is paused: {study.state_reason}"
    for grant in (grants[0], grants[2]):  # what still runs may end in any way
        await replica.fail(grant, failure, message=message)
    assert (await replica.study(name)).state is StudyState.PAUSED
    assert sum((await replica.study(name)).num_trials.values()) == 8


async def test_an_objective_that_no_trial_reports_pauses_the_study_and_says_what_is_reported(replica: Replica) -> None:
    name = await replica.create(
        objective={"metric": "val/acc", "direction": "maximize"}, budget={"trials": 40}, task={"function": "my:train"}
    )
    for _ in range(3):
        grant = await replica.claim(name)
        request = ReportRequest(nonce=grant.nonce, sequence=1, points=[Point(step=1, metrics={"accuracy": 0.5})])
        await report(replica.context, grant.trial, grant.attempt, request)
        await replica.finish(grant)
    study = await replica.study(name)
    assert study.state is StudyState.PAUSED
    assert study.state_reason == (
        "the first 3 trials all failed with the same error: val/acc was never reported; it reported accuracy"
    )


async def test_trials_that_a_pruner_stops_alike_or_that_diverge_alike_do_not_pause(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 9})
    for _ in range(4):
        grant = await replica.claim(name)
        await replica.report(grant, 1, 0.5)
        await replica.finish(grant, "pruned", message="behind the median")
    name = await replica.create(budget={"trials": 9})
    for _ in range(4):
        grant = await replica.claim(name)
        await replica.fail(grant, FailureClass.DIVERGED, message="diverged: loss is nan at step 1")
    assert (await replica.study(name)).state is StudyState.ACTIVE


async def test_half_of_the_last_twenty_failing_pauses_the_study(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 30})
    for _ in range(10):
        await replica.train(name, 0.5)
    for number in range(9):
        await fail_next(replica, name, number)
    assert (await replica.study(name)).state is StudyState.ACTIVE
    await fail_next(replica, name, 77)
    study = await replica.study(name)
    assert study.state is StudyState.PAUSED
    assert (study.state_reason or "").startswith("10 of the last 20 attempts failed; 10 of them with: KeyError")


async def test_three_losses_without_progress_on_two_hosts_are_poison(replica: Replica) -> None:
    name = await replica.create()
    for worker, host in (("a1", "a"), ("a2", "a"), ("b1", "b")):
        grant = await replica.claim(name, worker=worker, host=host)
        assert grant.number == 0
        await replica.fail(grant, FailureClass.PROCESS_KILLED, message="killed by SIGSEGV")
    trial = await replica.trial(name, 0)
    assert (trial.state, trial.attempts[-1].failure) == (TrialState.FAILED, FailureClass.POISON)
    assert trial.state_reason == "poison: lost 3 times without progress, on a, b; the last: killed by SIGSEGV"


def gpu(memory_gib: float) -> dict[str, Any]:
    return {"devices": [Device(kind="cuda", memory_gib=memory_gib)]}


FULL = MemoryShortage(place="device", total_gib=24.0)


async def test_a_trial_out_of_memory_waits_for_a_larger_gpu_of_the_fleet(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 2})
    other = await replica.create(budget={"trials": 9})
    await replica.ask(other, worker="large", host="large", **gpu(80))
    grant = await replica.claim(name, worker="small", host="small", **gpu(24))
    reply = await replica.fail(grant, FailureClass.OUT_OF_MEMORY, message="CUDA out of memory", shortage=FULL)
    assert reply.trial_state == "waiting"
    next_one = await replica.claim(name, worker="small", host="small", **gpu(24))
    assert next_one.number == 1
    nothing = await replica.ask(name, worker="small", host="small", **gpu(24))
    assert isinstance(nothing, NoTrial)
    assert nothing.reason == f"{name}: trial 0 waits for a GPU with more than 24 GiB"
    again = await replica.claim(name, worker="large", host="large", **gpu(80))
    assert (again.number, again.attempt) == (0, 2)


async def test_a_trial_out_of_memory_is_infeasible_where_no_gpu_is_larger(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name, **gpu(24))
    reply = await replica.fail(grant, FailureClass.OUT_OF_MEMORY, message="CUDA out of memory", shortage=FULL)
    trial = await replica.trial(name, 0)
    assert (reply.trial_state, trial.infeasible) == ("pruned", True)
    assert trial.state_reason == "CUDA out of memory; no GPU here has more than 24 GiB"


async def test_a_trial_lost_beyond_its_budget_is_tried_again_with_its_number(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 1}, retry_failed=1)
    for step in range(1, 7):
        grant = await replica.claim(name)
        await replica.report(grant, 1, 0.5, step=step)  # progress: it is no poison
        await replica.fail(grant, FailureClass.HUNG, message="no new step")
    again = await replica.claim(name)
    assert (again.number, again.attempt, again.parameters) == (0, 7, grant.parameters)
    await replica.fail(again, FailureClass.HUNG, message="no new step")
    trial = await replica.trial(name, 0)
    assert trial.state is TrialState.FAILED
    assert trial.state_reason == "given up after 7 losses; the last: no new step"


async def test_a_loss_that_was_charged_is_taken_back_when_its_worker_comes(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 1}, retry_failed=1)
    counts = sa.select(tables.trial.c.num_losses, tables.trial.c.num_failures)
    for _ in range(6):
        grant = await replica.claim(name)
        await replica.lose()
    read = replica.database.read
    assert await read(lambda connection: tuple(connection.execute(counts).one())) == (6, 1)
    await replica.report(grant, 1, 0.5)
    assert await read(lambda connection: tuple(connection.execute(counts).one())) == (5, 0)
    assert (await replica.trial(name, 0)).state is TrialState.RUNNING


async def test_a_trial_waits_for_a_larger_gpu_only_as_long_as_one_may_come_back(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 1})
    await replica.ask(await replica.create(), worker="large", host="large", **gpu(80))
    grant = await replica.claim(name, worker="small", host="small", **gpu(24))
    await replica.fail(grant, FailureClass.OUT_OF_MEMORY, message="CUDA out of memory", shortage=FULL)
    replica.clock.forward(890)
    assert await expire_oom_waiters(replica.context) == 0
    replica.clock.forward(20)
    await replica.ask(await replica.create(), worker="small", host="small", **gpu(24))
    assert await expire_oom_waiters(replica.context) == 1
    trial = await replica.trial(name, 0)
    assert (trial.state, trial.infeasible, trial.values) == (TrialState.PRUNED, True, None)
    assert trial.state_reason == "out of memory: no GPU with more than 24 GiB was here for 15 minutes"
    assert trial.attempts[-1].failure is FailureClass.OUT_OF_MEMORY
    assert (await replica.study(name)).state is StudyState.COMPLETED
    assert await expire_oom_waiters(replica.context) == 0


async def test_a_trial_that_waits_for_another_reason_is_not_given_up(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 2})
    crowded = MemoryShortage(place="device", total_gib=24.0, others_gib=8.0)
    await replica.fail(await replica.claim(name, **gpu(24)), FailureClass.OUT_OF_MEMORY, shortage=crowded)
    await replica.finish(await replica.claim(name, **gpu(24)), "released")
    replica.clock.forward(3600)
    assert await expire_oom_waiters(replica.context) == 0
