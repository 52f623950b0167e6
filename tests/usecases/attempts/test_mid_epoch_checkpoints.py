"""Mid-epoch checkpoints: resumed like those at an epoch's end, never ahead of their metrics."""

from __future__ import annotations

import os

import pytest

from service.contract.attempt import FailureClass
from service.contract.claim import Grant
from service.contract.problem import ErrorCode
from service.domain.errors import DomainError
from service.storage.blobs import BlobStore
from service.usecases.blobs import collect_blobs
from tests.usecases.attempts.test_resume import path_of, put, register, steps
from tests.usecases.replica import Replica

pytestmark = pytest.mark.anyio


def place_of(grant: Grant) -> tuple[int, int] | None:
    """Where the attempt is to go on."""
    return None if grant.resume is None else (grant.resume.step, grant.resume.batch)


async def save(replica: Replica, store: BlobStore, grant: Grant, step: int, batch: int) -> bytes:
    """Save a checkpoint of this place, whose reports came before; its content."""
    content = b"%d, %d" % (step, batch)
    put(store, content)
    assert (await register(replica, grant, step, content, batch)).batch == batch
    return content


async def test_the_next_attempt_resumes_in_the_middle_of_a_step(replica: Replica, blobs: BlobStore) -> None:
    name = await replica.create()
    first = await replica.claim(name)
    for step, batch in ((0, 30), (1, 0), (1, 20), (1, 110)):
        if not batch:
            await replica.report(first, step, 0.5)
        await save(replica, blobs, first, step, batch)
    await replica.fail(first, FailureClass.PROCESS_KILLED)
    second = await replica.claim(name, request_id="the-second")
    assert place_of(second) == (1, 110)
    assert (await replica.claim(name, request_id="the-second")).resume == second.resume
    with pytest.raises(DomainError, match="step 1 is known from an earlier attempt"):
        await replica.report(second, 1, 0.5, step=1)
    await replica.report(second, 1, 0.25, step=2)
    assert await steps(replica, name) == [1, 2]
    assert (await replica.finish(second)).trial_state == "completed"


async def test_attempts_that_never_end_a_step_go_on_from_one_another(replica: Replica) -> None:
    """As hosts do that are lost more often than once in an epoch: each got further, so the trial is no poison."""
    name = await replica.create()
    for number in range(5):
        grant = await replica.claim(name, worker=f"w{number % 2}")
        assert (grant.number, place_of(grant)) == (0, (0, 10 * number) if number else None)
        await replica.checkpoint(grant, 0, batch=10 * (number + 1))
        reply = await replica.fail(grant, FailureClass.PROCESS_KILLED)
        assert reply.trial_state == "waiting"
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)
    assert await steps(replica, name) == [1]


async def test_attempts_that_get_no_batch_further_are_poison(replica: Replica) -> None:
    name = await replica.create()
    first = await replica.claim(name, worker="w0")
    await replica.checkpoint(first, 0, batch=10)
    states = [(await replica.fail(first, FailureClass.PROCESS_KILLED)).trial_state]
    for worker in ("w0", "w1", "w1"):
        grant = await replica.claim(name, worker=worker)
        states.append((await replica.fail(grant, FailureClass.PROCESS_KILLED)).trial_state)
    assert states == ["waiting", "waiting", "waiting", "failed"]
    assert "poison" in str((await replica.trial(name, 0)).state_reason)


@pytest.mark.parametrize(("step", "batch"), [(1, 10), (1, 0), (0, 0)])
async def test_it_never_outruns_the_metrics_of_its_last_whole_step(
    replica: Replica, blobs: BlobStore, step: int, batch: int
) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    before = await replica.stored(name)
    with pytest.raises(DomainError, match=f"the checkpoint is of step {step}, but the last reported step is") as caught:
        await save(replica, blobs, grant, step, batch)
    assert caught.value.code is ErrorCode.REPORT_ORDER
    assert await replica.stored(name) == before


async def test_an_attempt_has_one_of_each_batch(replica: Replica, blobs: BlobStore) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    for batch in (10, 10, 20):
        await save(replica, blobs, grant, 0, batch)
    assert (await replica.kinds(name)).count("checkpoint_stored") == 2
    put(blobs, b"another")
    with pytest.raises(DomainError, match="the checkpoint of step 0, batch 10 is already") as caught:
        await register(replica, grant, 0, b"another", 10)
    assert caught.value.code is ErrorCode.REPORT_CONFLICT


async def test_without_its_blob_it_gives_way_to_the_one_before_for_good(replica: Replica, blobs: BlobStore) -> None:
    name = await replica.create()
    first = await replica.claim(name)
    for batch in (10, 20):
        newest = await save(replica, blobs, first, 0, batch)
    await replica.finish(first, "released")
    path_of(blobs, newest).unlink()
    second = await replica.claim(name)
    assert place_of(second) == (0, 10)
    put(blobs, newest)  # the second attempt began before it: of the first, what came after counts no more
    await replica.finish(second, "released")
    assert (await replica.claim(name)).resume == second.resume


async def test_a_pause_in_the_middle_lets_the_trial_wait_and_go_on_from_there(
    replica: Replica, blobs: BlobStore
) -> None:
    asha = {"pruner": {"name": "asha", "min": 2}, "resource": {"name": "epoch", "max": 8}}
    for changes in ({}, asha):
        name = await replica.create(**changes)
        first = await replica.claim(name)
        await replica.report(first, 1, 0.5)
        await save(replica, blobs, first, 1, 30)
        assert (await replica.finish(first, "paused")).trial_state == "waiting"
        again = await replica.claim(name)
        assert (again.number, place_of(again)) == (0, (1, 30))


async def test_the_newest_two_and_the_newest_of_a_whole_step_are_kept_and_only_that_of_the_best(
    replica: Replica, blobs: BlobStore
) -> None:
    async def collect() -> set[bytes]:
        for path in blobs.directory.glob("??/*"):
            os.utime(path, (1000, 1000))
        await collect_blobs(replica.context)
        return {path.read_bytes() for path in blobs.directory.glob("??/*")}

    name = await replica.create()
    grant = await replica.claim(name)
    for step in (1, 2):
        await replica.report(grant, step, 0.5)
        for batch in (0, 10, 20, 30):
            await save(replica, blobs, grant, step, batch)
    assert await collect() == {b"2, 20", b"2, 30", b"2, 0"}
    await replica.finish(grant)
    assert await collect() == {b"2, 0"}


async def test_a_fork_begins_at_a_whole_step(replica: Replica, blobs: BlobStore) -> None:
    name = await replica.create()
    parent = await replica.claim(name)
    await save(replica, blobs, parent, 0, 10)
    with pytest.raises(DomainError, match="trial 0 has saved no checkpoint at the end of a step"):
        await replica.fork(name, 0, lr=0.05)
    await replica.report(parent, 1, 0.5)
    await save(replica, blobs, parent, 1, 0)
    await save(replica, blobs, parent, 1, 10)
    assert (await replica.fork(name, 0, lr=0.05)).parent_step == 1
    fork = await replica.claim(name)
    assert (fork.fork_at, place_of(fork)) == (1, (1, 0))
    await save(replica, blobs, fork, 1, 20)
    await replica.fail(fork, FailureClass.PROCESS_KILLED)
    assert place_of(await replica.claim(name)) == (1, 20), "its own, further than its parent's"
