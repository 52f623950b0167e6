"""Predictions: kept for the best trials, fenced like every write, and refused for the others."""

from __future__ import annotations

import asyncio
import os

import pytest

from service.contract.attempt import Outcome
from service.contract.claim import Grant
from service.contract.predictions import NUM_KEPT, Confusion
from service.contract.problem import ErrorCode
from service.contract.report import Point, ReportRequest
from service.domain.errors import DomainError
from service.storage.blobs import BlobStore
from service.storage.fsck.invariants import check
from service.storage.queries import checkpoints
from service.usecases.blobs import collect_blobs
from service.usecases.trials.predictions import find_predictions, list_predictions
from tests.usecases.replica import Replica, sha256_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("blobs")]


async def listed(replica: Replica, name: str) -> list[int | None]:
    return [each.number for each in (await list_predictions(replica.context, name)).trials]


def age(blobs: BlobStore) -> None:
    """Make every blob as old as one that nobody touched for a while."""
    for path in blobs.directory.glob("??/*"):
        os.utime(path, (1000, 1000))


async def refused(replica: Replica, name: str, key: str = "0") -> str:
    with pytest.raises(DomainError) as caught:
        await find_predictions(replica.context, name, key)
    assert caught.value.code is ErrorCode.UNKNOWN_PREDICTIONS
    return str(caught.value)


async def test_they_are_registered_once_and_found_again(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.train(name, 0.5)
    assert (await replica.predictions(grant, b"file")).kept
    stored = await replica.stored(name)
    assert (await replica.predictions(grant, b"file")).kept
    found = await find_predictions(replica.context, name, "0")
    assert (found.trial_id, found.attempt, found.sha256, found.size) == (grant.trial, 1, sha256_of(b"file"), 4)
    assert await listed(replica, name) == [0]
    assert await replica.stored(name) == stored, "nothing that strategies or pages see has moved"
    assert [each for each in await replica.database.read(check) if each.broken] == []


async def test_another_file_is_a_conflict(replica: Replica) -> None:
    grant = await replica.train(await replica.create(), 0.5)
    await replica.predictions(grant, b"file")
    with pytest.raises(DomainError, match=r"are already .* a trial has one predictions file") as caught:
        await replica.predictions(grant, b"other")
    assert caught.value.code is ErrorCode.REPORT_CONFLICT


async def test_their_blob_has_to_be_there(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.train(name, 0.5)
    with pytest.raises(DomainError, match="upload it, then register it again") as caught:
        await replica.predictions(grant, b"file", uploaded=False)
    assert caught.value.code is ErrorCode.BLOB_MISSING
    assert await listed(replica, name) == []


async def test_they_come_after_the_outcome_however_late(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)
    with pytest.raises(DomainError, match="attempt 1 of trial 0 has not ended yet; finish it") as caught:
        await replica.predictions(grant, b"file")
    assert caught.value.code is ErrorCode.REPORT_ORDER
    await replica.finish(grant)
    await replica.train(name, 0.6)
    await replica.train(name, 0.7)
    assert (await replica.study(name)).state == "completed"
    assert (await replica.predictions(grant, b"file")).kept


async def test_a_superseded_attempt_and_a_stranger_write_nothing(replica: Replica) -> None:
    name = await replica.create()
    old = await replica.claim(name)
    await replica.lose()
    new = await replica.claim(name, worker="other")
    await replica.report(new, 1, 0.5)
    await replica.finish(new)
    for grant, nonce in ((old, None), (new, "stolen")):
        with pytest.raises(DomainError) as caught:
            await replica.predictions(grant, b"file", nonce=nonce)
        assert caught.value.code is ErrorCode.LEASE_SUPERSEDED
    with pytest.raises(DomainError) as unknown:
        await replica.predictions(new.model_copy(update={"attempt": 3}), b"file")
    assert unknown.value.code is ErrorCode.UNKNOWN_ATTEMPT
    assert await listed(replica, name) == []


@pytest.mark.parametrize(
    ("value", "result", "state"), [(float("nan"), "succeeded", "pruned"), (0.5, "failed", "failed")]
)
async def test_predictions_of_an_incomplete_trial_are_refused(
    replica: Replica, value: float, result: str, state: str
) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    await replica.report(grant, 1, value)
    await replica.finish(grant, result, failure="user_exception" if result == "failed" else None)
    reply = await replica.predictions(grant, b"file", uploaded=False)
    assert (reply.kept, reply.reason) == (False, f"trial 0 is {state}")
    assert f"it is {state}" in await refused(replica, name)


async def test_the_best_are_kept_and_the_others_leave_with_the_keeper(replica: Replica, blobs: BlobStore) -> None:
    name = await replica.create(budget={"trials": NUM_KEPT + 2})
    grants = [await replica.train(name, 1.0 - number / 100) for number in range(NUM_KEPT)]  # ever better
    for grant in grants:
        assert (await replica.predictions(grant, f"of {grant.number}".encode())).kept
    hopeless = await replica.train(name, 2.0)
    reply = await replica.predictions(hopeless, b"hopeless", uploaded=False)
    assert (reply.kept, reply.reason) == (False, f"trial {NUM_KEPT} is not among the best {NUM_KEPT} trials")
    age(blobs)
    assert await collect_blobs(replica.context) == 0
    better = await replica.train(name, 0.1)
    assert (await replica.predictions(better, b"better")).kept
    age(blobs)
    assert await collect_blobs(replica.context) == 1
    assert await listed(replica, name) == [*range(1, NUM_KEPT), NUM_KEPT + 1]
    assert f"only while it was among the best {NUM_KEPT} trials" in await refused(replica, name)
    assert f"`study predictions {name}` lists all" in await refused(replica, name, str(NUM_KEPT))
    assert not (await replica.predictions(grants[0], b"of 0", uploaded=False)).kept


async def test_until_the_keeper_comes_a_file_that_is_there_is_given(replica: Replica) -> None:
    name = await replica.create(budget={"trials": NUM_KEPT + 1})
    first = await replica.train(name, 1.0)
    await replica.predictions(first, b"file")
    for _ in range(NUM_KEPT):
        await replica.train(name, 0.5)
    assert (await find_predictions(replica.context, name, "0")).sha256 == sha256_of(b"file")


async def test_with_several_objectives_the_front_is_kept(replica: Replica, blobs: BlobStore) -> None:
    several = [{"metric": "accuracy", "direction": "maximize"}, {"metric": "loss", "direction": "minimize"}]
    name = await replica.create(objective=several, sampler={"name": "random", "seed": 1})
    grants = []
    for accuracy, loss in ((0.5, 0.6), (0.9, 0.9), (0.6, 0.5)):  # the third dominates the first
        grant = await replica.claim(name)
        points = [Point(step=1, metrics={"accuracy": accuracy, "loss": loss})]
        await replica.checkpoint(grant, 1, ReportRequest(nonce=grant.nonce, sequence=1, points=points))
        await replica.finish(grant)
        grants.append(grant)
        if len(grants) < 3:
            assert (await replica.predictions(grant, b"%d" % len(grants))).kept
    assert (await replica.predictions(grants[2], b"3")).kept
    wanted = await replica.database.read(checkpoints.wanted)
    assert {sha256_of(b"2"), sha256_of(b"3")} <= wanted
    assert sha256_of(b"1") not in wanted
    assert not (await replica.predictions(grants[0], b"1")).kept


async def test_a_forks_are_kept_beside(replica: Replica) -> None:
    name = await replica.create(budget={"trials": NUM_KEPT + 1})
    for _ in range(NUM_KEPT):
        await replica.train(name, 0.1)
    parent = await replica.claim(name)
    await replica.report(parent, 1, 0.5)
    await replica.checkpoint(parent, 1)
    fork = await replica.fork(name, NUM_KEPT, 1, lr=0.01)
    await replica.finish(parent)
    assert not (await replica.predictions(parent, b"parent")).kept
    grant = await replica.claim(name)
    assert grant.trial == fork.id
    await replica.report(grant, 1, 0.9, step=2)
    await replica.finish(grant)
    assert (await replica.predictions(grant, b"fork")).kept
    assert await listed(replica, name) == [None]
    assert (await find_predictions(replica.context, name, fork.id)).sha256 == sha256_of(b"fork")


async def test_a_full_store_deletes_unneeded_files_at_once(replica: Replica, blobs: BlobStore) -> None:
    name = await replica.create(budget={"trials": NUM_KEPT + 1})
    await replica.predictions(await replica.train(name, 1.0), b"file")
    for _ in range(NUM_KEPT):
        await replica.train(name, 0.5)
    registered = await replica.database.read(checkpoints.registered)
    assert blobs.collect(await replica.database.read(checkpoints.wanted), 0, registered) == 1


async def test_two_replicas_that_register_predictions_at_once_keep_them_once(
    replicas: tuple[Replica, Replica], blobs: BlobStore
) -> None:
    for each in replicas:
        each.open_blobs(blobs.directory)
    name = await replicas[0].create()
    grant = await replicas[0].train(name, 0.5)
    replies = await asyncio.gather(*(replicas[n % 2].predictions(grant, b"file") for n in range(6)))
    assert all(reply.kept for reply in replies)
    assert await listed(replicas[1], name) == [0]
    assert [each for each in await replicas[0].database.read(check) if each.broken] == []


CONFUSION = Confusion(classes=["cat", "dog"], splits={"val": [[3, 1], [0, 4]]})


async def finish_with(replica: Replica, grant: Grant, confusion: Confusion | None) -> None:
    await replica.report(grant, 1, 0.5)
    await replica.finish(grant, **Outcome(result="succeeded", confusion=confusion).model_dump(exclude={"result"}))


async def test_every_trial_reports_its_confusion_matrix(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    assert (await replica.trial(name, 0)).confusion is None
    await finish_with(replica, grant, CONFUSION)
    assert (await replica.trial(name, 0)).confusion == CONFUSION
    await finish_with(replica, await replica.claim(name), None)
    assert (await replica.trial(name, 1)).confusion is None
    with pytest.raises(DomainError) as caught:
        await replica.finish(grant)
    assert caught.value.code is ErrorCode.ATTEMPT_ENDED, "it is part of the outcome"


def test_counts_are_square() -> None:
    with pytest.raises(ValueError, match=r"splits\.val must have 2 rows of 2 counts"):
        Confusion(classes=["cat", "dog"], splits={"val": [[1, 2], [3]]})
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        Confusion(classes=["cat"], splits={"val": [[-1]]})
