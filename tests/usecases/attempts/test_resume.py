"""Resume: the next attempt starts from the newest available checkpoint and continues its steps."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from service.contract.attempt import CheckpointReply, CheckpointRequest, FailureClass
from service.contract.claim import Grant, NoTrial, ResumePoint
from service.contract.problem import ErrorCode
from service.domain.errors import DomainError
from service.storage.blobs import BlobStore, BlobStoreError
from service.storage.database import open_database
from service.storage.queries import trials
from service.storage.unit_of_work import Transactor
from service.usecases.attempts.checkpoint import register_checkpoint
from service.usecases.blobs import attach_blobs, collect_blobs
from tests.usecases.replica import Replica, put, sha256_of

pytestmark = pytest.mark.anyio


def path_of(store: BlobStore, content: bytes) -> Path:
    return store._path(sha256_of(content))


async def register(replica: Replica, grant: Grant, step: int, content: bytes, batch: int = 0) -> CheckpointReply:
    name = sha256_of(content)
    request = CheckpointRequest(
        nonce=grant.nonce, step=step, batch=batch, sha256=name, size=len(content), uri=f"blob:{name}"
    )
    return await register_checkpoint(replica.context, grant.trial, grant.attempt, request)


async def save(replica: Replica, store: BlobStore, grant: Grant, step: int, content: bytes) -> None:
    """Report a step, and save its checkpoint."""
    number = step - (grant.resume.step if grant.resume else 0)
    await replica.report(grant, number, 1 / step, step=step)
    put(store, content)
    await register(replica, grant, step, content)


async def steps(replica: Replica, name: str) -> list[int]:
    (series,) = (await replica.trial(name, 0)).series
    return series.steps


async def test_the_next_attempt_begins_with_the_newest_checkpoint(replica: Replica, blobs: BlobStore) -> None:
    name = await replica.create()
    first = await replica.claim(name)
    assert first.resume is None
    await save(replica, blobs, first, 1, b"one")
    await save(replica, blobs, first, 2, b"two!")
    await replica.report(first, 3, 0.1)
    await replica.fail(first, FailureClass.PROCESS_KILLED)
    assert await steps(replica, name) == [1, 2, 3]
    second = await replica.claim(name, request_id="the-second")
    digest = sha256_of(b"two!")
    assert second.resume == ResumePoint(step=2, sha256=digest, size=4, uri=f"blob:{digest}")
    assert (await replica.claim(name, request_id="the-second")).resume == second.resume
    row = await replica.database.read(lambda connection: trials.attempt_of(connection, second.trial, 2))
    assert row is not None
    assert row.resume_step == 2
    # Step 3 of the first attempt counts no more; the second one's reports begin at 1 again, its steps after 2.
    assert await steps(replica, name) == [1, 2]
    await replica.report(second, 1, 0.1, step=3)
    await replica.report(second, 2, 0.1, step=4)
    assert await steps(replica, name) == [1, 2, 3, 4]
    assert (await replica.finish(second)).trial_state == "completed"


async def test_a_step_at_or_before_the_resume_point_is_refused_and_changes_nothing(
    replica: Replica, blobs: BlobStore
) -> None:
    name = await replica.create()
    await save(replica, blobs, first := await replica.claim(name), 1, b"one")
    await replica.finish(first, "released")
    second = await replica.claim(name)
    before = await replica.stored(name)
    with pytest.raises(DomainError, match="step 1 is known from an earlier attempt") as caught:
        await replica.report(second, 1, 0.5, step=1)
    assert caught.value.code is ErrorCode.REPORT_ORDER
    assert await replica.stored(name) == before


async def test_without_its_blob_a_checkpoint_gives_way_to_the_one_before(replica: Replica, blobs: BlobStore) -> None:
    name = await replica.create()
    first = await replica.claim(name)
    for step, content in enumerate((b"one", b"two"), start=1):
        await save(replica, blobs, first, step, content)
    await replica.finish(first, "released")
    path_of(blobs, b"two").unlink()
    second = await replica.claim(name)
    assert second.resume is not None
    assert second.resume.step == 1
    # Even when it comes back: attempt 2 has begun before it, so what attempt 1 did after step 1 counts no more.
    put(blobs, b"two")
    await replica.finish(second, "released")
    third = await replica.claim(name)
    assert third.resume == second.resume
    path_of(blobs, b"one").unlink()
    await replica.finish(third, "released")
    assert (await replica.claim(name)).resume is None
    assert (await replica.trial(name, 0)).series == []


async def test_each_attempt_resumes_from_where_the_one_before_got(replica: Replica, blobs: BlobStore) -> None:
    name = await replica.create()
    for attempt in range(1, 6):
        grant = await replica.claim(name)
        assert (grant.resume.step if grant.resume else 0) == attempt - 1
        await save(replica, blobs, grant, attempt, b"%d" % attempt)
        await replica.finish(grant, "released")
    assert await steps(replica, name) == [1, 2, 3, 4, 5]


async def test_a_checkpoint_in_a_place_that_workers_share_is_theirs_to_read(replica: Replica) -> None:
    name = await replica.create()
    first = await replica.claim(name)
    await replica.report(first, 1, 0.5)
    await replica.checkpoint(first, 1)
    await replica.finish(first, "released")
    resume = (await replica.claim(name)).resume
    assert resume is not None
    assert resume.uri == "file:///1"


async def test_a_checkpoint_that_was_not_uploaded_is_refused_and_changes_nothing(
    replica: Replica, blobs: BlobStore
) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)
    before = await replica.stored(name)
    with pytest.raises(DomainError, match="upload it, then register it again") as caught:
        await register(replica, grant, 1, b"one")
    assert caught.value.code is ErrorCode.BLOB_MISSING
    assert await replica.stored(name) == before
    put(blobs, b"one")
    assert (await register(replica, grant, 1, b"one")).step == 1


def test_a_checkpoint_names_its_own_blob() -> None:
    with pytest.raises(ValidationError, match="uri names a blob other than sha256"):
        CheckpointRequest(nonce="n", step=1, sha256="0" * 64, size=1, uri=f"blob:{'1' * 64}")


async def test_blobs_are_kept_while_a_trial_may_need_them_and_for_the_best(replica: Replica, blobs: BlobStore) -> None:
    async def collect() -> set[bytes]:
        contents = {path.read_bytes() for path in blobs.directory.glob("??/*")}
        for path in blobs.directory.glob("??/*"):
            os.utime(path, (1000, 1000))
        num_removed = await collect_blobs(replica.context)
        left = {path.read_bytes() for path in blobs.directory.glob("??/*")}
        assert num_removed == len(contents - left)
        return left

    name = await replica.create(budget={"trials": 3})
    put(blobs, b"never registered")
    assert await collect_blobs(replica.context) == 0, "it is too young"
    good, bad = await replica.claim(name), await replica.claim(name)
    for step in (1, 2, 3):
        await save(replica, blobs, good, step, b"good %d" % step)
    await save(replica, blobs, bad, 1, b"bad")
    assert await collect() == {b"good 2", b"good 3", b"bad"}
    await replica.finish(good)
    assert await collect() == {b"good 2", b"good 3", b"bad"}
    await replica.finish(bad, "released")
    assert await collect() == {b"good 2", b"good 3", b"bad"}, "a trial that waits resumes"
    await replica.finish(await replica.claim(name))
    assert await collect() == {b"good 2", b"good 3"}, "the best one is kept, and where it can be forked"


async def test_a_store_belongs_to_its_database(replica: Replica, tmp_path: Path) -> None:
    transact = replica.context.transact
    assert isinstance(transact, Transactor)
    attach_blobs(transact, tmp_path / "blobs")
    attach_blobs(transact, tmp_path / "blobs")
    with pytest.raises(BlobStoreError, match="mount the folder that the other servers use"):
        attach_blobs(transact, tmp_path / "elsewhere")
    other = open_database(str(tmp_path / "other.db"))
    try:
        with pytest.raises(BlobStoreError, match="is the blob store of another database"):
            attach_blobs(Transactor(other, replica.context.new_id), tmp_path / "blobs")
    finally:
        other.close()


async def saved_on(replica: Replica, blobs: BlobStore, name: str, host: str, **offers: Any) -> Grant:
    """An attempt on this host that has saved a checkpoint, and whose process has just died."""
    grant = await replica.claim(name, worker=host, host=host, **offers)
    await save(replica, blobs, grant, 1, b"one")
    await replica.fail(grant, FailureClass.PROCESS_KILLED)
    return grant


async def test_a_trial_is_kept_a_moment_for_the_host_that_holds_its_checkpoint(
    replica: Replica, blobs: BlobStore
) -> None:
    name = await replica.create()
    await saved_on(replica, blobs, name, "near")
    other = await replica.claim(name, worker="far", host="far")
    assert other.number == 1, "who comes from elsewhere gets something else meanwhile"
    again = await replica.claim(name, worker="near", host="near")
    assert (again.number, again.attempt) == (0, 2)


async def test_a_claim_without_other_work_names_what_the_trial_waits_for(replica: Replica, blobs: BlobStore) -> None:
    name = await replica.create(budget={"trials": 1})
    await saved_on(replica, blobs, name, "near")
    answer = await replica.ask(name, worker="far", host="far")
    assert isinstance(answer, NoTrial)
    assert answer.reason == f"{name}: trial 0 waits for a moment for near, which holds its checkpoint"
    assert (await replica.study(name)).state == "active"


async def test_no_trial_waits_for_a_host_that_is_busy_or_leaves(replica: Replica, blobs: BlobStore) -> None:
    name = await replica.create()
    await saved_on(replica, blobs, name, "near")
    await replica.claim(await replica.create(), worker="near", host="near")
    assert (await replica.claim(name, worker="far", host="far")).number == 0, "near is busy"
    name = await replica.create()
    grant = await replica.claim(name, worker="gone", host="gone")
    await save(replica, blobs, grant, 1, b"two")
    await replica.finish(grant, "released", failure=FailureClass.PREEMPTED)
    assert (await replica.claim(name, worker="far", host="far")).number == 0, "gone is drained"


async def test_a_worker_with_a_free_slot_is_waited_for(replica: Replica, blobs: BlobStore) -> None:
    slots = {"cpu": [{"kind": "cpu"}], "cpu-2": [{"kind": "cpu"}]}
    name = await replica.create(budget={"trials": 1})
    await saved_on(replica, blobs, name, "near", slots=slots)
    await replica.claim(await replica.create(), worker="near", host="near", slots=slots)
    assert isinstance(await replica.ask(name, worker="far", host="far"), NoTrial)
    await replica.claim(await replica.create(), worker="near", host="near", slots=slots)
    assert (await replica.claim(name, worker="far", host="far")).number == 0


async def lack_a_file(replica: Replica, name: str, **offers: Any) -> None:
    """Exclude the host near from the study: two faults in a row that concern this study alone."""
    for _ in range(2):
        grant = await replica.claim(name, worker="near", host="near", **offers)
        await replica.fail(grant, FailureClass.HOST_FAULT, message="no such file", scope="study")


async def test_no_trial_is_kept_for_a_host_that_is_excluded_from_the_study(replica: Replica, blobs: BlobStore) -> None:
    name = await replica.create(budget={"trials": 2})
    first = await saved_on(replica, blobs, name, "near")
    assert (await replica.claim(name, worker="other", host="other")).number == 1
    await lack_a_file(replica, name)
    assert (await replica.claim(name, worker="far", host="far")).trial == first.trial


SHARED = "file:///"


async def test_a_shared_checkpoint_goes_to_workers_that_see_its_directory_if_any(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 1})
    first = await replica.claim(name, worker="a", host="a", directories=[SHARED])
    await replica.report(first, 1, 0.5)
    await replica.checkpoint(first, 1)
    await replica.fail(first, FailureClass.PROCESS_KILLED)
    answer = await replica.ask(name, worker="b", host="b", directories=[])
    assert isinstance(answer, NoTrial)
    assert "waits for a worker that shares the directory of its checkpoint" in answer.reason
    again = await replica.claim(name, worker="c", host="c", directories=[SHARED])
    assert again.resume is not None
    assert again.resume.uri == "file:///1"


async def test_a_directory_that_only_an_excluded_host_sees_is_not_waited_for(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 2})
    first = await replica.claim(name, worker="near", host="near", directories=[SHARED])
    await replica.report(first, 1, 0.5)
    await replica.checkpoint(first, 1)
    await replica.fail(first, FailureClass.PROCESS_KILLED)
    assert (await replica.claim(name, worker="other", host="other", directories=[])).number == 1
    assert isinstance(await replica.ask(name, worker="far", host="far", directories=[]), NoTrial)
    await lack_a_file(replica, name, directories=[SHARED])
    again = await replica.claim(name, worker="far", host="far", directories=[])
    assert (again.trial, again.resume) == (first.trial, None)


async def test_without_a_worker_that_sees_the_directory_the_trial_starts_over(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 1})
    first = await replica.claim(name, worker="a", host="a")  # an agent of before: it does not say what it shares
    await replica.report(first, 1, 0.5)
    await replica.checkpoint(first, 1)
    await replica.finish(first, "released")
    again = await replica.claim(name, worker="b", host="b", directories=[])
    assert (again.number, again.resume) == (0, None)


async def test_a_checkpoint_that_could_not_be_read_gives_way_to_the_one_before(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 1})
    offers = {"worker": "a", "host": "a", "directories": [SHARED]}
    first = await replica.claim(name, **offers)
    for step in (1, 2):
        await replica.report(first, step, 0.5)
        await replica.checkpoint(first, step)
    await replica.finish(first, "released")
    for uri in ("file:///2", "file:///1"):
        grant = await replica.claim(name, **offers)
        assert grant.resume is not None
        assert grant.resume.uri == uri
        await replica.fail(grant, FailureClass.HOST_FAULT, message="cannot be read", unreadable=uri)
        if uri == "file:///2":
            await replica.report(await replica.claim(await replica.create(), **offers), 1, 0.5)
    assert (await replica.trial(name, 0)).state_reason


async def test_a_trial_for_a_larger_gpu_is_not_kept_for_the_host_that_holds_its_checkpoint(
    replica: Replica, blobs: BlobStore
) -> None:
    small, large = ({"devices": [{"kind": "cuda", "memory_gib": gib}]} for gib in (8.0, 80.0))
    name = await replica.create(budget={"trials": 1})
    await replica.claim(await replica.create(), worker="far", host="far", **large)
    grant = await replica.claim(name, worker="near", host="near", **small)
    await save(replica, blobs, grant, 1, b"one")
    shortage = {"place": "device", "total_gib": 8.0}
    await replica.fail(grant, FailureClass.OUT_OF_MEMORY, shortage=shortage)
    assert (await replica.claim(name, worker="far", host="far", **large)).attempt == 2


async def test_no_trial_is_kept_for_a_host_whose_checkpoint_is_gone(replica: Replica, blobs: BlobStore) -> None:
    name = await replica.create(budget={"trials": 1})
    await saved_on(replica, blobs, name, "near")
    path_of(blobs, b"one").unlink()
    assert (await replica.claim(name, worker="far", host="far")).attempt == 2


async def test_a_trial_that_another_host_gives_back_is_kept_for_the_one_that_holds_its_checkpoint(
    replica: Replica, blobs: BlobStore
) -> None:
    name, other = await replica.create(budget={"trials": 1}), await replica.create()
    await saved_on(replica, blobs, name, "near")
    busy = await replica.claim(other, worker="near", host="near")
    second = await replica.claim(name, worker="far", host="far")
    await replica.finish(busy, "released")
    await replica.finish(second, "released")
    answer = await replica.ask(name, worker="third", host="third")
    assert isinstance(answer, NoTrial)
    assert "waits for a moment for near" in answer.reason
