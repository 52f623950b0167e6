"""Deletion: the study disappears at once, its name is free, and its rows and files are removed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from service.contract.log import LogRequest, Stream
from service.contract.problem import ErrorCode
from service.contract.trial import ReleaseRequest
from service.storage import removal, tables
from service.storage.blobs import BlobStore
from service.storage.fsck import invariants
from service.storage.tables import Connection
from service.usecases.blobs import collect_blobs
from service.usecases.maintenance.oom_expiry import expire_oom_waiters
from service.usecases.maintenance.restore import begin_epoch
from service.usecases.studies import lifecycle, study_lookup
from service.usecases.studies.deletion import delete_study, remove_deleted
from service.usecases.trials.logs import append_log
from service.usecases.trials.release import release_trial
from tests.usecases.maintenance.test_leases import refused
from tests.usecases.replica import LIMITS, Replica

pytestmark = pytest.mark.anyio


def broken(replica: Replica) -> dict[str, Any]:
    return {each.name: each.broken for each in replica.database.read_sync(invariants.check) if each.broken}


def num_rows(replica: Replica) -> dict[str, int]:
    """How many rows each table has, workers and the deployment aside."""

    def read(connection: Connection) -> dict[str, int]:
        return {
            table.name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in tables.metadata.sorted_tables
            if table not in (tables.worker, tables.deployment, tables.custom_entry)
        }

    return {name: num for name, num in replica.database.read_sync(read).items() if num}


async def remove(replica: Replica) -> int:
    """Let the upkeep come by once the moment after a deletion has passed."""
    replica.clock.forward(LIMITS.removal_seconds + 1)
    return await remove_deleted(replica.context)


async def play(replica: Replica, **changes: Any) -> str:
    """A study that has a row in nearly every table, and no running trial."""
    name = await replica.create(**changes)
    await replica.train(name, 0.5, 0.25)
    lost = await replica.claim(name)
    await replica.report(lost, 1, 0.5)
    await replica.checkpoint(lost, 1)
    await replica.lose()
    return name


def test_every_table_is_emptied_for_a_study_or_is_of_none() -> None:
    of_none = {tables.worker, tables.deployment, tables.custom_entry, tables.study, tables.trial}
    assert {*removal.OF_TRIALS, *removal.OF_STUDIES} | of_none == set(tables.metadata.sorted_tables)


async def test_a_deleted_study_is_gone_for_everybody(replica: Replica) -> None:
    other = await replica.create()
    name = await play(replica)
    reply = await delete_study(replica.context, name)
    assert reply.name == name
    for call in (
        replica.study(name),
        replica.study(reply.id),
        replica.trials(name),
        replica.ask(name),
        lifecycle.pause_study(replica.context, name, ""),
        delete_study(replica.context, name),
    ):
        await refused(ErrorCode.UNKNOWN_STUDY, call)
    assert [each.name for each in (await study_lookup.list_studies(replica.context)).studies] == [other]
    assert reply.id not in await study_lookup.list_revisions(replica.context)
    assert broken(replica) == {}
    # Whoever asks for any study gets one of those that are there.
    assert (await replica.claim(None)).study_name == other
    assert await replica.reap() == 0
    assert await expire_oom_waiters(replica.context) == 0
    assert await remove(replica) == 1
    assert broken(replica) == {}
    await refused(ErrorCode.UNKNOWN_STUDY, replica.study(reply.id))
    assert (await replica.study(other)).num_trials


async def test_its_name_is_free_at_once(replica: Replica) -> None:
    name = await play(replica)
    old = await delete_study(replica.context, name)
    assert await replica.create(name=name) == name
    assert (await replica.study(name)).id != old.id
    await replica.train(name, 0.5)
    assert await remove(replica) == 1
    assert [trial.values for trial in await replica.trials(name)] == [[0.5]]
    assert broken(replica) == {}


async def test_nothing_of_it_is_left(replica: Replica) -> None:
    name = await play(replica, name="kept")
    kept = num_rows(replica)
    await play(replica, name="gone")
    forked = await replica.create(name="forked", budget={"trials": 1})
    parent = await replica.claim(forked)
    await replica.report(parent, 1, 0.5, 0.25)
    await replica.checkpoint(parent, 2)
    await replica.finish(parent)
    await replica.fork(forked, 0, lr=0.05)
    for each in ("gone", "forked"):
        await delete_study(replica.context, each)
    assert await remove_deleted(replica.context) == 0  # not yet
    assert await remove(replica) == 2
    assert num_rows(replica) == kept
    assert await remove(replica) == 0
    assert (await replica.trial(name, 0)).values == [0.25]
    assert broken(replica) == {}


async def test_a_study_is_not_deleted_while_trials_run(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 9})
    for _ in range(7):
        await replica.claim(name)
    said = await refused(ErrorCode.STUDY_STATE, delete_study(replica.context, name))
    assert said.startswith("trial 0, trial 1, trial 2, trial 3, trial 4, 2 more of")
    assert f"study stop {name}" in said
    assert f"study release {name} 0" in said
    for number in range(7):
        await release_trial(replica.context, name, str(number), ReleaseRequest())
    await delete_study(replica.context, name)
    assert broken(replica) == {}


async def test_a_late_worker_hears_that_the_study_is_gone_and_brings_nothing_back(replica: Replica) -> None:
    """An attempt that was lost could be attached again as long as the trial is there."""
    name = await replica.create()
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)
    await replica.lose()
    await delete_study(replica.context, name)
    calls = (
        lambda: replica.report(grant, 2, 0.4),
        lambda: replica.checkpoint(grant, 1),
        lambda: replica.finish(grant),
        lambda: replica.provenance(grant, "0123456789abcdef"),
    )
    for call in calls:
        await refused(ErrorCode.UNKNOWN_STUDY, call())
    status = await replica.heartbeat(grant)
    assert (status.held, status.order) == (False, "stop")
    assert broken(replica) == {}
    assert await remove(replica) == 1
    for call in calls:
        await refused(ErrorCode.UNKNOWN_TRIAL, call())
    assert not (await replica.heartbeat(grant)).held


async def test_a_repeated_claim_does_not_restore_a_deleted_study(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name, request_id="the-same-one")
    await replica.finish(grant, "released")
    await delete_study(replica.context, name)
    other = await replica.create()
    # The request is told what it was granted, whose every use is refused; once the rows are gone it is a new one.
    await replica.claim(None, request_id="the-same-one")
    assert await remove(replica) == 1
    assert (await replica.claim(None, request_id="the-same-one")).study_name == other


async def test_prior_trials_copied_by_other_studies_stay(replica: Replica) -> None:
    first = await replica.create(budget={"trials": 1})
    await replica.train(first, 0.5)
    second = await replica.create(warm_start=[first], sampler={"name": "tpe"})
    await delete_study(replica.context, first)
    assert await remove(replica) == 1
    assert "1 are prior trials" in ((await replica.study(second)).notice or "")
    await replica.train(second, 0.25)
    assert broken(replica) == {}
    said = await refused(ErrorCode.INVALID_SPEC, replica.create(warm_start=[first], sampler={"name": "tpe"}))
    assert "there is no study" in said


async def test_its_blobs_are_collected_by_the_ordinary_retention(replica: Replica, blobs: BlobStore) -> None:
    name = await replica.create(budget={"trials": 1})
    grant = await replica.train(name, 0.5)
    await replica.predictions(grant, b"predicted")
    replica.context = replace(replica.context, limits=replace(LIMITS, blob_grace_seconds=-1))
    assert await collect_blobs(replica.context) == 0
    await delete_study(replica.context, name)
    assert await collect_blobs(replica.context) == 1
    assert await remove(replica) == 1
    assert list(blobs.directory.glob("??/*")) == []


async def test_a_restore_and_a_step_of_the_clock_pass_over_it(replica: Replica) -> None:
    await replica.reap()
    replica.clock.forward(1e6)
    await replica.reap()
    name = await play(replica)
    await delete_study(replica.context, name)
    replica.clock.forward(-1e6)
    assert await replica.reap() == 0
    assert (await begin_epoch(replica.context)).num_lost == 0
    assert await remove(replica) == 1
    assert num_rows(replica) == {}


async def test_it_is_removed_in_small_pieces_while_others_are_served(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every transaction removes few rows, and a heartbeat is served between any two."""
    name = await replica.create(budget={"trials": 40})
    for _ in range(4):
        await replica.train(name, *([0.5] * 20))
    other = await replica.claim(await replica.create())
    await delete_study(replica.context, name)
    monkeypatch.setattr("service.usecases.studies.deletion._NUM_ROWS", 7)
    before, served = sum(num_rows(replica).values()), 0
    replica.clock.forward(LIMITS.removal_seconds + 1)

    async def beat() -> AsyncIterator[int]:
        while True:
            assert (await replica.heartbeat(other)).held
            yield sum(num_rows(replica).values())

    removing, counts = asyncio.ensure_future(remove_deleted(replica.context)), [before]
    async for num in beat():
        counts.append(num)
        served += 1
        if removing.done():
            break
    assert served > 5
    assert await remove(replica) == 0
    assert num_rows(replica)["study"] == 1
    assert broken(replica) == {}


async def test_logs_of_a_trial_that_is_removed_meanwhile_are_refused(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    request = LogRequest.of(grant.nonce, 0, b"abc")
    await append_log(replica.context, grant.trial, 1, Stream.STDOUT, request)
    await replica.finish(grant, "released")
    await delete_study(replica.context, name)
    assert await remove(replica) == 1
    later = LogRequest.of(grant.nonce, 3, b"def")
    await refused(ErrorCode.UNKNOWN_ATTEMPT, append_log(replica.context, grant.trial, 1, Stream.STDOUT, later))
