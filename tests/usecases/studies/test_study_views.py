"""Cached study views equal the database after every kind of write and at any time."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from service.contract.attempt import FailureClass
from service.contract.claim import Grant
from service.contract.study import EditRequest, EnqueueRequest, ExtendRequest, StudyState, StudyView
from service.contract.trial import TrialState
from service.storage import tables
from service.storage.database import Database
from service.storage.queries import studies as study_queries
from service.usecases import importance_cache
from service.usecases.maintenance.restore import begin_epoch
from service.usecases.studies import lifecycle, study_lookup
from service.usecases.studies.edit import edit_study
from service.usecases.studies.enqueue import enqueue
from service.usecases.studies.importance import study_importance
from tests.usecases.replica import Replica

pytestmark = pytest.mark.anyio


def plain(view: StudyView) -> dict[str, Any]:
    """A view without what moves by itself."""
    return view.model_dump(exclude={"budget_used": {"hours", "device_hours"}})


async def check(replica: Replica, name: str) -> StudyView:
    """Compare the shared view and list with those of a replica that knows nothing yet, and with plain counts."""
    told = await replica.study(name)
    fresh = await Replica(replica.database).study(name)
    assert plain(told) == plain(fresh)
    assert told.budget_used.hours == pytest.approx(fresh.budget_used.hours, abs=0.01)
    assert told.budget_used.device_hours == pytest.approx(fresh.budget_used.device_hours, abs=0.01)
    [listed] = [each for each in (await study_lookup.list_studies(replica.context)).studies if each.name == name]
    assert plain(listed.model_copy(update={"no_worker_reason": told.no_worker_reason})) == plain(told)
    counted = await replica.database.read(lambda connection: _counted(connection, told.id))
    assert (told.revision, dict(told.num_trials)) == counted[:2]
    assert told.budget_used.since_improvement == counted[2]
    return told


def _counted(connection: sa.Connection, study_id: str) -> tuple[int, dict[TrialState, int], int]:
    trial = tables.trial
    rows = connection.execute(sa.select(trial).where(trial.c.study_id == study_id, trial.c.number.is_not(None))).all()
    num: dict[TrialState, int] = {}
    for row in rows:
        num[TrialState(row.state)] = num.get(TrialState(row.state), 0) + 1
    completed = [row for row in rows if row.state == TrialState.COMPLETED and row.value is not None]
    best = min(completed, key=lambda row: (row.value, row.number), default=None)
    ended = [row for row in rows if row.state in {TrialState.COMPLETED, TrialState.PRUNED}]
    since = 0
    if best is not None:
        since = sum((row.finished_at, row.number) > (best.finished_at, best.number) for row in ended)
    return study_queries.by_id(connection, study_id).revision, num, since


async def test_a_viewer_sees_every_kind_of_write_at_once(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 6})
    last = (await check(replica, name)).revision

    async def sees(change: Awaitable[Any]) -> StudyView:
        nonlocal last
        await change
        view = await check(replica, name)
        assert view.revision > last, "the write is not seen"
        last = view.revision
        return view

    grant = await replica.claim(name)
    assert (await sees(replica.report(grant, 1, 0.5))).num_trials == {TrialState.RUNNING: 1}
    assert (await sees(replica.checkpoint(grant, 1))).num_trials == {TrialState.RUNNING: 1}
    finished = await sees(replica.finish(grant))
    assert finished.best is not None
    assert finished.best.values == [0.5]
    failed = await replica.claim(name)
    assert (await sees(replica.fail(failed, FailureClass.USER_EXCEPTION, message="no"))).budget_used.failures == 1
    lost = await replica.claim(name)
    await sees(replica.lose())
    await sees(replica.claim(name))  # the lost trial goes on
    assert lost.number is not None
    assert (await sees(lifecycle.pause_study(replica.context, name, "lunch"))).state_reason == "lunch"
    await sees(lifecycle.resume_study(replica.context, name))
    request = ExtendRequest(trials=9)
    assert (await sees(lifecycle.extend_study(replica.context, name, request))).budget_trials == 9
    spec = (await replica.study(name)).spec
    edited = spec.model_copy(update={"description": "another"})
    version = (await replica.study(name)).spec_version
    view = await sees(edit_study(replica.context, name, EditRequest(spec=edited, version=version)))
    assert view.spec.description == "another"
    await sees(enqueue(replica.context, name, EnqueueRequest(parameters={"lr": 0.01})))
    await sees(replica.fork(name, grant.number or 0, lr=0.02))
    await sees(lifecycle.stop_study(replica.context, name, "enough"))


async def test_a_view_after_a_restore_is_of_the_new_epoch(replica: Replica) -> None:
    name = await replica.create()
    await replica.claim(name)
    await check(replica, name)
    await begin_epoch(replica.context)
    assert (await check(replica, name)).num_trials == {TrialState.WAITING: 1}


async def test_the_answer_to_a_write_is_not_kept_where_the_write_is_rolled_back(replica: Replica) -> None:
    name = await replica.create()
    study_id = (await check(replica, name)).id

    def work(unit_of_work: Any) -> None:
        unit_of_work.record("noted")
        study_lookup.view_of(unit_of_work, replica.context, study_id)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await replica.context.transact(study_id, work)
    assert (await check(replica, name)).revision == 1


async def test_hours_pass_while_the_revision_stands(replica: Replica) -> None:
    name = await replica.create()
    await replica.claim(name)
    before = (await replica.study(name)).budget_used
    await asyncio.sleep(0.3)
    after = (await replica.study(name)).budget_used
    assert (after.hours - before.hours) * 3600 >= 0.25
    assert (after.device_hours - before.device_hours) * 3600 >= 0.25
    await lifecycle.pause_study(replica.context, name, "")
    paused = (await replica.study(name)).budget_used
    await asyncio.sleep(0.1)
    assert (await replica.study(name)).budget_used.hours == paused.hours


@pytest.mark.parametrize("seed", range(3))
async def test_a_random_sequence_of_changes_is_seen_as_it_is(replica: Replica, seed: int) -> None:
    chance = random.Random(seed)
    name = await replica.create(budget={"trials": 40})
    held: list[tuple[Grant, int]] = []

    async def claim_() -> None:
        held.append((await replica.claim(name, worker=f"w{chance.random()}"), 0))

    async def report_() -> None:
        grant, sequence = held.pop(chance.randrange(len(held)))
        await replica.report(grant, sequence + 1, chance.choice([0.1, 0.2, 0.3]), step=sequence + 1)
        held.append((grant, sequence + 1))

    async def end_() -> None:
        grant, sequence = held.pop(chance.randrange(len(held)))
        if sequence and chance.random() < 0.7:
            await replica.finish(grant)
        else:
            await replica.fail(grant, FailureClass.DIVERGED)

    async def pause_() -> None:
        await lifecycle.pause_study(replica.context, name, "")
        await check(replica, name)
        await lifecycle.resume_study(replica.context, name)

    for _ in range(40):
        kinds: list[Callable[[], Awaitable[None]]] = [claim_, pause_]
        kinds += [report_, report_, end_] if held else []
        await chance.choice(kinds)()
        if chance.random() < 0.7:
            await check(replica, name)
    await check(replica, name)


async def test_a_front_is_kept_up_to_date(replica: Replica) -> None:
    both = [{"metric": "loss", "direction": "minimize"}, {"metric": "seconds", "direction": "minimize"}]
    name = await replica.create(objective=both, budget={"trials": 20})
    for loss, seconds in [(3, 3), (1, 5), (5, 1), (2, 2), (4, 4), (2, 2), (1, 1)]:
        grant = await replica.claim(name)
        await replica.report(grant, 1, loss)
        await replica.finish(grant, metrics={"seconds": seconds})
        assert plain(await replica.study(name)) == plain(await Replica(replica.database).study(name))
    assert (await replica.study(name)).pareto_front == [6]


async def test_viewers_and_the_search_use_threads_of_their_own(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = ThreadPoolExecutor(1)
    closed.shutdown()
    name = await replica.create()
    with monkeypatch.context() as patch:
        patch.setattr(replica.database, "viewing", closed)
        grant = await replica.claim(name)
        await replica.report(grant, 1, 0.5)
        await replica.heartbeat(grant)
        await replica.finish(grant)
        await replica.reap()
        with pytest.raises(RuntimeError):
            await replica.study(name)
    with monkeypatch.context() as patch:
        patch.setattr(replica.database, "reading", closed)
        await replica.study(name)
        await study_lookup.list_studies(replica.context)
        await replica.trials(name)
        await replica.workers()
        await study_importance(replica.context, name)


async def test_a_search_continues_while_all_viewers_wait(replica: Replica) -> None:
    name = await replica.create()
    event = threading.Event()
    blocked = [replica.database.viewing.submit(event.wait) for _ in range(8)]
    try:
        async with asyncio.timeout(20):
            await replica.train(name, 0.5)
    finally:
        event.set()
    assert all(each.result() for each in blocked)


async def test_importance_of_an_active_study_is_computed_every_few_seconds_at_most(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await replica.create(budget={"trials": 3})
    await replica.train(name, 0.5)
    first = await study_importance(replica.context, name)
    await replica.train(name, 0.4)
    assert await study_importance(replica.context, name) == first
    monkeypatch.setattr(importance_cache, "FRESH_SECONDS", 0.0)
    second = await study_importance(replica.context, name)
    assert second.revision == (await replica.study(name)).revision > first.revision
    monkeypatch.undo()
    await replica.train(name, 0.3)
    assert (await replica.study(name)).state is StudyState.COMPLETED
    assert (await study_importance(replica.context, name)).num_trials == 3, "of a study that is over it is exact"


def test_one_of_two_readers_with_the_older_snapshot_does_not_put_the_view_back(database: Database) -> None:
    replica = Replica(database)
    name = asyncio.run(replica.create())

    def read(connection: sa.Connection) -> tuple[int, int]:
        row, now = study_lookup.find_study(connection, name), database.dialect.now(connection)
        asyncio.run(lifecycle.pause_study(replica.context, name, ""))
        newer = asyncio.run(replica.study(name))
        older = replica.context.views.latest(connection, row, now)
        return older.revision, newer.revision

    assert database.read_sync(read) == (1, 2)
    assert asyncio.run(replica.study(name)).revision == 2
