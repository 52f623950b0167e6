"""Restore: invalidates earlier leases, makes their trials wait, and changes nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from service.contract.attempt import FailureClass, HeartbeatRequest, HeldLease
from service.contract.problem import ErrorCode
from service.contract.study import StudyState
from service.contract.trial import AttemptState, TrialState
from service.domain.errors import DomainError
from service.domain.history import History
from service.storage import tables
from service.storage.fsck.invariants import check
from service.storage.queries.history import refresh
from service.usecases.attempts.heartbeat import heartbeat
from service.usecases.maintenance.restore import Restored, begin_epoch
from service.usecases.studies import lifecycle
from tests.usecases.replica import Replica

pytestmark = pytest.mark.anyio


async def superseded(call: object) -> None:
    with pytest.raises(DomainError) as caught:
        await call  # type: ignore[misc]
    assert caught.value.code is ErrorCode.LEASE_SUPERSEDED


async def clean(replica: Replica) -> bool:
    return not any(each.broken for each in await replica.database.read(check))


async def test_running_attempts_are_lost_and_their_trials_wait_at_no_charge(replica: Replica) -> None:
    name = await replica.create()
    done = await replica.train(name, 0.5)
    old = await replica.claim(name)
    await replica.report(old, 1, 0.5)
    assert await begin_epoch(replica.context) == Restored(epoch=2, num_lost=1)
    finished, waiting = await replica.trials(name)
    assert (finished.id, finished.state) == (done.trial, TrialState.COMPLETED)
    assert waiting.state is TrialState.WAITING
    (attempt,) = (await replica.trial(name, 1)).attempts
    assert (attempt.state, attempt.message) == (AttemptState.LOST, "the database was restored from a backup")
    assert await clean(replica)
    new = await replica.claim(name)
    assert (new.trial, new.number, new.attempt) == (old.trial, 1, 2)
    assert await clean(replica)


async def test_a_restore_is_no_loss_on_the_way_to_poison(replica: Replica) -> None:
    name = await replica.create()
    for host in ("a", "b"):
        grant = await replica.claim(name, worker=host, host=host)
        await replica.fail(grant, FailureClass.PROCESS_KILLED)
    await replica.claim(name, worker="c", host="c")
    await begin_epoch(replica.context)
    last = await replica.claim(name, worker="d", host="d")
    await replica.fail(last, FailureClass.PROCESS_KILLED)
    assert (await replica.trial(name, 0)).state is TrialState.WAITING


async def test_a_nonce_of_before_writes_nothing(replica: Replica) -> None:
    name = await replica.create()
    running, lost = await replica.claim(name), await replica.claim(name, worker="silent")
    await replica.lose()
    await replica.heartbeat(running)  # attached again; the other one could be, too
    await begin_epoch(replica.context)
    before = await replica.stored(name)
    for old in (running, lost):
        await superseded(replica.report(old, 1, 0.5))
        await superseded(replica.checkpoint(old, 0))
        await superseded(replica.finish(old))
        assert not (await replica.heartbeat(old)).held
    assert await replica.stored(name) == before


async def test_one_sign_of_life_tells_two_nonces_of_one_attempt_apart(replica: Replica) -> None:
    name = await replica.create()
    first = await replica.claim(name)
    await replica.fail(first, FailureClass.PREEMPTED)
    second = await replica.claim(name)
    # As if the database had gone back since another second attempt, which the host still has.
    other = second.model_copy(update={"nonce": "f" * 32})
    held = [HeldLease(trial=each.trial, attempt=each.attempt, nonce=each.nonce) for each in (other, second)]
    for leases in (held, held[::-1]):
        reply = await heartbeat(replica.context, HeartbeatRequest(worker="w", leases=leases))
        assert [status.held for status in reply.leases] == [lease.nonce == second.nonce for lease in leases]


async def test_an_attempt_that_resumed_and_came_back_does_not_stop_the_next_one(replica: Replica) -> None:
    """A reattached attempt has no outcome, and a restore gives it none: the next claim must not look into it."""
    name = await replica.create()
    first = await replica.claim(name)
    await replica.report(first, 1, 0.5)
    await replica.checkpoint(first, 1)
    await replica.lose()
    second = await replica.claim(name, worker="back")
    assert second.resume is not None
    await replica.lose()
    assert (await replica.heartbeat(second, worker="back")).held
    await begin_epoch(replica.context)
    third = await replica.claim(name)
    assert (third.trial, third.attempt, third.resume) == (first.trial, 3, second.resume)
    assert (await replica.study(name)).state is StudyState.ACTIVE
    assert await clean(replica)


async def test_a_claim_of_before_is_a_new_one(replica: Replica) -> None:
    name = await replica.create()
    old = await replica.claim(name, request_id="claim-of-before")
    await begin_epoch(replica.context)
    new = await replica.claim(name, request_id="claim-of-before")
    assert (new.trial, new.attempt) == (old.trial, 2)
    assert new.nonce != old.nonce


async def test_an_end_that_is_known_is_still_answered(replica: Replica) -> None:
    name = await replica.create()
    done = await replica.train(name, 0.5)
    await begin_epoch(replica.context)
    assert (await replica.finish(done)).values == [0.5]


async def test_a_study_that_was_being_stopped_is_stopped(replica: Replica) -> None:
    name = await replica.create()
    await replica.claim(name)
    await lifecycle.stop_study(replica.context, name, "")
    await begin_epoch(replica.context)
    assert (await replica.study(name)).state is StudyState.STOPPED
    assert [trial.state for trial in await replica.trials(name)] == [TrialState.CANCELLED]
    assert await clean(replica)


async def test_each_restore_starts_a_new_epoch_and_is_recorded_in_every_journal(replica: Replica) -> None:
    name = await replica.create()
    await replica.reap()
    assert (await begin_epoch(replica.context)).epoch == 2
    assert (await begin_epoch(replica.context)).epoch == 3
    assert await replica.kinds(name) == ["study_created", "restored", "restored"]


async def test_a_replica_that_is_at_work_meanwhile_forgets_what_it_knew(replicas: tuple[Replica, Replica]) -> None:
    """Revisions begin again where the backup was made: what a replica has kept of one of them is of another past."""
    one, other = replicas
    name = await one.create(budget={"trials": 100})
    study = (await one.study(name)).id
    backup = await one.database.read(
        lambda connection: [(each, connection.execute(each.select()).all()) for each in tables.metadata.sorted_tables]
    )
    await other.train(name, 0.9, 0.8, 0.7)
    with one.database.writer.begin() as connection:
        for table in reversed(tables.metadata.sorted_tables):
            connection.execute(table.delete())
        for table, rows in backup:
            for row in rows:
                connection.execute(table.insert(), dict(row._mapping))
    await begin_epoch(one.context)
    before = other.context.histories._known[study].revision
    while (await one.study(name)).revision <= before:
        await one.train(name, 0.1)

    def read(connection: tables.Connection) -> tuple[History, History]:
        kept = other.context.histories.latest(connection, study, "loss")
        return kept, refresh(connection, study, "loss", History())

    kept, fresh = await other.database.read(read)
    assert kept == fresh


async def test_a_restore_that_is_cut_short_leaves_whole_what_it_has_not_come_to(replica: Replica) -> None:
    first, second = await replica.create(), await replica.create()
    await replica.claim(first)
    running = await replica.claim(second)
    transact, num_studies = replica.context.transact, 0

    async def dying(study_id: str | None, work: Any) -> Any:
        nonlocal num_studies
        num_studies += study_id is not None
        if num_studies > 1:
            raise KeyboardInterrupt
        return await transact(study_id, work)

    with pytest.raises(KeyboardInterrupt):
        await begin_epoch(replace(replica.context, transact=dying))
    assert await clean(replica)
    assert (await replica.heartbeat(running)).held
