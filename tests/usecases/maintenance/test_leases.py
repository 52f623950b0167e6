"""Leases: expiry, requeueing to another worker, and credit for outages of the service."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from service import background
from service.contract.attempt import FailureClass
from service.contract.problem import ErrorCode
from service.contract.report import Action
from service.contract.study import StudyState
from service.contract.trial import AttemptState, TrialState
from service.domain.errors import DomainError
from service.domain.failures import MAX_LOSSES
from service.domain.state_machine import IllegalTransitionError
from service.domain.states import TrialEvent
from service.storage import tables
from service.storage.queries import leases, trials
from service.storage.unit_of_work import UnitOfWork
from service.usecases.attempts import heartbeat
from service.usecases.context import Context
from service.usecases.deployment import ensure_deployment
from service.usecases.maintenance import reaper
from service.usecases.maintenance.reaper import _find_expired, _lose_attempt
from tests.usecases.replica import Replica

pytestmark = pytest.mark.anyio


async def refused(code: ErrorCode, call: object) -> str:
    with pytest.raises(DomainError) as caught:
        await call  # type: ignore[misc]
    assert caught.value.code is code, caught.value
    return caught.value.detail


async def test_only_the_granted_nonce_writes(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    before = await replica.stored(name)
    for call in (
        replica.report(grant, 1, 0.5, nonce="stolen"),
        replica.finish(grant, nonce="stolen"),
        replica.checkpoint(grant.model_copy(update={"nonce": "stolen"}), 0),
    ):
        assert "drop the trial and claim another" in await refused(ErrorCode.LEASE_SUPERSEDED, call)
    status = await replica.heartbeat(grant, nonce="stolen")
    assert (status.held, status.order, status.lease_seconds) == (False, Action.STOP, None)
    assert await replica.stored(name) == before


async def test_an_attempt_that_never_was_is_unknown(replica: Replica) -> None:
    grant = await replica.claim(await replica.create())
    await refused(ErrorCode.UNKNOWN_ATTEMPT, replica.report(grant.model_copy(update={"attempt": 2}), 1, 0.5))
    await refused(ErrorCode.UNKNOWN_TRIAL, replica.report(grant.model_copy(update={"trial": "nowhere"}), 1, 0.5))
    status = await replica.heartbeat(grant.model_copy(update={"trial": "nowhere"}))
    assert not status.held


async def test_a_superseded_attempt_must_drop_the_trial(replica: Replica) -> None:
    name = await replica.create()
    old = await replica.claim(name)
    await replica.report(old, 1, 0.5)
    assert await replica.lose() == 1
    new = await replica.claim(name, worker="other")
    assert (new.trial, new.number, new.attempt, new.parameters) == (old.trial, 0, 2, old.parameters)
    for call in (
        replica.report(old, 1, 0.5),
        replica.report(old, 2, 0.5),
        replica.finish(old),
        replica.checkpoint(old, 1),
    ):
        assert "attempt 2 does" in await refused(ErrorCode.LEASE_SUPERSEDED, call)
    status = await replica.heartbeat(old)
    assert (status.held, status.order) == (False, Action.STOP)
    assert (await replica.heartbeat(new, worker="other")).held
    await replica.report(new, 1, 0.25)
    assert (await replica.finish(new)).values == [0.25]


async def test_an_expired_lease_stays_valid_until_the_trial_is_granted_again(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    replica.clock.forward(1000)
    await replica.report(grant, 1, 0.5)
    assert (await replica.heartbeat(grant)).held
    assert (await replica.finish(grant)).trial_state == "completed"
    assert "attempt_lost" not in await replica.kinds(name)


@pytest.mark.parametrize("sign_of_life", ["report", "heartbeat", "checkpoint", "finish"])
async def test_a_lost_attempt_attaches_again_by_any_sign_of_life(replica: Replica, sign_of_life: str) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)
    assert await replica.lose() == 1
    lost = await replica.trial(name, 0)
    assert (lost.state, lost.attempts[0].state) == (TrialState.WAITING, AttemptState.LOST)
    assert lost.attempts[0].failure is FailureClass.WORKER_LOST
    match sign_of_life:
        case "report":
            await replica.report(grant, 2, 0.4)
        case "heartbeat":
            assert (await replica.heartbeat(grant)).held
        case "checkpoint":
            await replica.checkpoint(grant, 1)
    if sign_of_life != "finish":
        detail = await replica.trial(name, 0)
        assert (detail.state, detail.attempts[0].state) == (TrialState.RUNNING, AttemptState.RUNNING)
        assert (detail.attempts[0].failure, detail.attempts[0].message, detail.attempts[0].ended_at) == (
            None,
            None,
            None,
        )
        assert await replica.database.read(lambda connection: leases.of_attempt(connection, grant.trial, 1)) is not None
        row = await replica.database.read(lambda connection: trials.by_id(connection, grant.trial))
        assert row is not None
        assert row.num_losses == 0
    assert (await replica.finish(grant)).trial_state == "completed"
    assert [each.state for each in (await replica.trial(name, 0)).attempts] == [AttemptState.SUCCEEDED]
    assert (await replica.kinds(name)).count("attempt_reattached") == 1


async def test_an_attempt_can_be_lost_and_attached_many_times(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    for sequence in range(1, MAX_LOSSES + 3):
        assert await replica.lose() == 1
        await replica.report(grant, sequence, 0.5)
    assert (await replica.finish(grant)).trial_state == "completed"


async def test_a_heartbeat_keeps_the_lease(replica: Replica) -> None:
    grant = await replica.claim(await replica.create())
    await replica.reap()
    for _ in range(12):
        replica.clock.forward(14)
        status = await replica.heartbeat(grant)
        assert (status.held, status.order, status.lease_seconds) == (True, Action.CONTINUE, 60)
        assert await replica.reap() == 0


async def test_a_heartbeat_moves_no_revision(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    before = await replica.stored(name)
    await replica.heartbeat(grant)
    assert await replica.stored(name) == before


async def test_a_loss_is_one_transaction(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    before = (await replica.study(name)).revision
    assert await replica.lose() == 1
    assert (await replica.study(name)).revision == before + 1
    trial = await replica.trial(name, 0)
    assert (trial.state, trial.revision) == (TrialState.WAITING, before + 1)
    assert "worker w was silent for" in (trial.state_reason or "")
    assert await replica.database.read(lambda connection: leases.of_attempt(connection, grant.trial, 1)) is None
    assert (await replica.kinds(name))[-2:] == ["attempt_lost", "trial_requeued"]
    assert await replica.reap() == 0


async def test_a_trial_is_given_up_after_its_budget_of_losses(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 1})
    for attempt in range(1, MAX_LOSSES + 2):
        assert (await replica.claim(name)).attempt == attempt
        assert await replica.lose() == 1
    trial = await replica.trial(name, 0)
    assert trial.state is TrialState.FAILED
    assert f"given up after {MAX_LOSSES + 1} losses" in (trial.state_reason or "")
    assert (await replica.study(name)).state is StudyState.COMPLETED


@pytest.mark.parametrize("failure", [FailureClass.PREEMPTED, None])
async def test_a_released_or_preempted_attempt_costs_nothing(replica: Replica, failure: FailureClass | None) -> None:
    name = await replica.create(budget={"trials": 1})
    for _ in range(MAX_LOSSES + 2):
        grant = await replica.claim(name)
        if failure is None:
            await replica.finish(grant, "released")
        else:
            await replica.fail(grant, failure)
    assert (await replica.trial(name, 0)).state is TrialState.WAITING


async def test_an_outage_of_the_service_is_credited_to_every_lease(replica: Replica) -> None:
    name = await replica.create()
    await replica.reap()
    grant = await replica.claim(name)
    replica.clock.forward(3600)
    assert await replica.reap() == 0
    assert (await replica.trial(name, 0)).state is TrialState.RUNNING
    replica.clock.forward(10)
    assert (await replica.heartbeat(grant)).held
    assert await replica.reap() == 0
    assert await replica.lose() == 1


async def test_the_first_look_ever_takes_leases_as_they_are(replica: Replica) -> None:
    await replica.claim(await replica.create())
    replica.clock.forward(61)
    assert await replica.reap() == 1


async def test_the_first_look_ever_gives_back_a_silence_since_the_deployment_began(replica: Replica) -> None:
    await replica.context.transact(None, ensure_deployment)
    grant = await replica.claim(await replica.create())
    replica.clock.forward(3600)
    assert await replica.reap() == 0
    assert (await replica.heartbeat(grant)).held


async def test_two_replicas_reap_a_lease_once(replicas: tuple[Replica, Replica]) -> None:
    first, second = replicas
    name = await first.create(budget={"trials": 6})
    for _ in range(6):
        await first.claim(name)
    await first.reap()
    for each in replicas:
        each.clock.forward(61)
    with first.database.writer.begin() as connection:
        connection.execute(tables.deployment.update().values(reaper_seen_at=first.clock(connection)))
    num_lost = await asyncio.gather(first.reap(), second.reap(), first.reap())
    assert sum(num_lost) == 6
    assert (await first.kinds(name)).count("attempt_lost") == 6


async def test_a_lease_that_is_renewed_this_very_moment_is_not_reaped(replicas: tuple[Replica, Replica]) -> None:
    """A heartbeat that was told `held` must not find its trial given to another."""
    first, second = replicas
    name = await first.create()
    grant = await first.claim(name)
    await first.reap()
    for each in replicas:
        each.clock.forward(61)
    with first.database.writer.begin() as connection:
        connection.execute(tables.deployment.update().values(reaper_seen_at=first.clock(connection)))
        renewed = tables.lease.update().values(expires_at=first.clock(connection) + 60_000_000)
        connection.execute(renewed)
        # The renewal is not committed yet: the reaper sees the old deadline, and leaves the lease alone.
        assert await asyncio.wait_for(_reap_only(second), 10) == 0
    assert (await first.trial(name, 0)).state is TrialState.RUNNING
    assert (await first.report(grant, 1, 0.5)).action is Action.CONTINUE


async def test_a_lease_that_was_renewed_since_the_look_is_not_reaped(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    replica.clock.forward(61)
    (overdue,) = await replica.database.read(lambda at: leases.expired(at, replica.clock(at)))
    assert (await replica.heartbeat(grant)).held
    assert (
        await replica.context.transact(
            overdue.study_id, lambda unit_of_work: _lose_attempt(unit_of_work, None, overdue)
        )
        == 0
    )
    assert (await replica.trial(name, 0)).state is TrialState.RUNNING


async def test_a_lease_renewed_since_the_look_is_left_to_the_next_look_though_it_ran_out_again(
    replica: Replica,
) -> None:
    """Between look and loss the service stood still, so nobody could renew; the next round gives that time back."""
    name = await replica.create()
    grant = await replica.claim(name)
    await replica.reap()
    replica.clock.forward(61)
    (overdue,) = await replica.database.read(lambda at: leases.expired(at, replica.clock(at)))
    assert (await replica.heartbeat(grant)).held
    replica.clock.forward(3600)
    assert (
        await replica.context.transact(
            overdue.study_id, lambda unit_of_work: _lose_attempt(unit_of_work, None, overdue)
        )
        == 0
    )
    assert await replica.reap() == 0
    assert (await replica.trial(name, 0)).state is TrialState.RUNNING


async def _reap_only(replica: Replica) -> int:
    """The part of a round that takes one overdue lease away."""
    (overdue,) = await replica.database.read(lambda connection: leases.expired(connection, replica.clock(connection)))
    return await replica.context.transact(
        overdue.study_id, lambda unit_of_work: _lose_attempt(unit_of_work, None, overdue)
    )


async def test_a_repeated_finish_gets_the_same_answer(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)
    first = await replica.finish(grant, metrics={"test/loss": 0.25})
    before = await replica.stored(name)
    assert await replica.finish(grant, metrics={"test/loss": 0.25}) == first
    assert await replica.stored(name) == before
    for call in (replica.finish(grant), replica.finish(grant, "pruned"), replica.report(grant, 2, 0.4)):
        assert "ended" in await refused(ErrorCode.ATTEMPT_ENDED, call)
    assert await replica.report(grant, 1, 0.5)
    status = await replica.heartbeat(grant)
    assert (status.held, status.order) == (False, Action.STOP)


async def test_a_heartbeat_is_a_sign_of_life_of_its_own_worker_alone(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name, worker="here")
    await replica.claim(name, worker="elsewhere")
    before = {worker.name: worker.last_seen_at for worker in (await replica.workers()).workers}
    replica.clock.forward(10)
    await replica.heartbeat(grant, worker="here")
    after = {worker.name: worker.last_seen_at for worker in (await replica.workers()).workers}
    assert (after["here"] > before["here"], after["elsewhere"] == before["elsewhere"]) == (True, True)


async def test_a_heartbeat_attaches_nothing_again_that_runs_or_was_given_to_another(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def reattach(*_: object) -> None:
        raise AssertionError("the study was locked")

    monkeypatch.setattr(heartbeat, "_reattach", reattach)
    name = await replica.create(budget={"trials": 1})
    first = await replica.claim(name)
    assert (await replica.heartbeat(first)).held
    await replica.fail(first, FailureClass.WORKER_LOST)
    await replica.claim(name, worker="other")
    assert not (await replica.heartbeat(first)).held


async def test_after_an_outage_what_had_expired_before_is_left_to_the_next_round(replica: Replica) -> None:
    await replica.reap()
    await replica.claim(await replica.create())

    async def look() -> int:
        found = await replica.context.transact(None, lambda unit_of_work: _find_expired(unit_of_work, replica.context))
        return len(found.expired)

    for _ in range(5):
        replica.clock.forward(13)
        num_expired = await look()
    assert num_expired == 1
    replica.clock.forward(3600)
    assert await look() == 0


async def test_an_outage_is_still_credited_in_the_round_after_it(replica: Replica) -> None:
    await replica.reap()
    await replica.claim(await replica.create())
    replica.clock.forward(3600)
    assert await replica.reap() == 0
    assert await replica.reap() == 0


async def test_a_worker_that_is_gone_loses_its_attempt_though_every_round_of_the_reaper_is_late(
    replica: Replica,
) -> None:
    name = await replica.create()
    await replica.reap()
    await replica.claim(name)
    num_lost = 0
    for _ in range(4):
        for _ in range(4):
            replica.clock.forward(5)
            await reaper.credit_downtime(replica.context)
        num_lost += await replica.reap()  # 20 s after the last round, more than the three that pass for a downtime
    assert num_lost == 1


async def test_downtime_is_measured_while_a_round_of_the_reaper_is_stuck(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stuck(context: Context) -> int:
        return await asyncio.Event().wait()

    def seen_at(unit_of_work: UnitOfWork) -> int | None:
        return leases.reaper_seen_at(unit_of_work.connection)

    monkeypatch.setattr(background, "reap", stuck)
    context = replace(replica.context, limits=replace(replica.context.limits, reaper_seconds=0.01))
    maintenance = asyncio.create_task(background.run_maintenance(context))
    seen: set[int | None] = set()
    async with asyncio.timeout(20):
        while len(seen - {None}) < 3:
            seen.add(await context.transact(None, seen_at))
            await asyncio.sleep(0.01)
    maintenance.cancel()


async def test_no_clock_is_corrected_that_did_not_go_back(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    async def correct(*_: object) -> None:
        raise AssertionError("the clock was corrected")

    monkeypatch.setattr(reaper, "correct_clock", correct)
    for _ in range(2):
        assert await replica.reap() == 0


async def test_nothing_is_written_of_a_study_that_is_not_there(replica: Replica) -> None:
    await refused(ErrorCode.UNKNOWN_STUDY, replica.context.transact("0" * 32, lambda unit_of_work: None))


async def test_a_row_that_is_in_another_state_is_not_moved(replica: Replica) -> None:
    grant = await replica.claim(await replica.create())

    def promote(unit_of_work: UnitOfWork) -> None:
        trial = trials.by_id(unit_of_work.connection, grant.trial)
        assert trial is not None
        unit_of_work.advance_trial(trial, TrialEvent.PROMOTED)

    with pytest.raises(IllegalTransitionError):
        await replica.context.transact(grant.study, promote)
