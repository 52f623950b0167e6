"""On Postgres, what two replicas do at once comes out as if one had come first, whichever it was.

Each pair is played four times: one transaction stops right before it locks the study, when what it looked at is about
to be old, or right before it commits, when the other one has to wait for it; then the same with the two exchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from service.contract.attempt import FinishReply, LeaseStatus
from service.contract.claim import Grant, NoTrial
from service.contract.problem import ErrorCode
from service.contract.report import Action, Verdict
from service.contract.study import StudyState, StudyView
from service.contract.trial import AttemptState, TrialState
from service.domain.errors import DomainError
from service.storage import tables
from service.storage.fsck.invariants import check
from service.usecases.studies.lifecycle import stop_study
from tests.usecases.interleaving import LOCK_LEASE, LOCK_STUDY, RENEW_LEASE, At, Call, Order, play
from tests.usecases.replica import Replica

pytestmark = pytest.mark.anyio


async def expire(replicas: tuple[Replica, Replica]) -> None:
    """Let every lease run out, with a reaper that was there all the time."""
    for each in replicas:
        each.clock.forward(61)
    with replicas[0].database.writer.begin() as connection:
        connection.execute(tables.deployment.update().values(reaper_seen_at=replicas[0].clock(connection)))


async def lost(replicas: tuple[Replica, Replica], **changes: Any) -> tuple[str, Grant]:
    """A study whose first trial waits again, as its worker fell silent after one report."""
    name = await replicas[0].create(**changes)
    grant = await replicas[0].claim(name, worker="silent")
    await replicas[0].report(grant, 1, 0.5)
    await replicas[0].reap()
    await expire(replicas)
    assert await replicas[0].reap() == 1
    return name, grant


async def clean(replica: Replica) -> bool:
    return not any(each.broken for each in await replica.database.read(check))


def code(answer: object) -> ErrorCode:
    assert isinstance(answer, DomainError), answer
    return answer.code


async def test_claim_and_claim_get_the_next_two_numbers(replicas: tuple[Replica, Replica], order: Order) -> None:
    one, other = replicas
    name = await one.create(budget={"trials": 2})
    grants = await order.of(replicas, lambda: one.claim(name, worker="a"), lambda: other.claim(name, worker="b"))
    assert grants[order.first].number == 0
    assert grants[1 - order.first].number == 1
    assert (await one.kinds(name)).count("trial_created") == 2
    assert isinstance(await one.ask(name), NoTrial)
    assert await clean(one)


async def test_claim_and_claim_share_no_waiting_trial(replicas: tuple[Replica, Replica], order: Order) -> None:
    one, other = replicas
    name, before = await lost(replicas, budget={"trials": 1})
    answers = await order.of(replicas, lambda: one.ask(name, worker="a"), lambda: other.ask(name, worker="b"))
    granted, nothing = answers[order.first], answers[1 - order.first]
    assert isinstance(granted, Grant)
    assert (granted.trial, granted.attempt) == (before.trial, 2)
    assert isinstance(nothing, NoTrial)
    assert (await one.trial(name, 0)).num_attempts == 2
    assert await clean(one)


async def test_claim_and_finish_both_count(replicas: tuple[Replica, Replica], order: Order) -> None:
    one, other = replicas
    name = await one.create(budget={"trials": 2})
    running = await one.claim(name)
    await one.report(running, 1, 0.5)
    granted, finished = await order.of(replicas, lambda: one.claim(name), lambda: other.finish(running))
    assert (granted.number, finished.values) == (1, [0.5])
    assert [trial.state for trial in await one.trials(name)] == [TrialState.COMPLETED, TrialState.RUNNING]
    assert (await one.study(name)).state is StudyState.ACTIVE
    assert await clean(one)


async def test_claim_and_late_finish_of_one_trial_have_one_winner(
    replicas: tuple[Replica, Replica], order: Order
) -> None:
    one, other = replicas
    name, old = await lost(replicas, budget={"trials": 1})
    granted, finished = await order.of(replicas, lambda: one.ask(name), lambda: other.finish(old))
    trial = await one.trial(name, 0)
    if order.first == 0:
        assert isinstance(granted, Grant)
        assert granted.attempt == 2
        assert code(finished) is ErrorCode.LEASE_SUPERSEDED
        assert trial.state is TrialState.RUNNING
    else:
        assert isinstance(granted, NoTrial)
        assert isinstance(finished, FinishReply)
        assert (trial.state, trial.values, trial.num_attempts) == (TrialState.COMPLETED, [0.5], 1)
    assert await clean(one)


async def test_reap_and_finish_end_the_trial_once_and_it_keeps_its_result(
    replicas: tuple[Replica, Replica], order: Order
) -> None:
    one, other = replicas
    name = await one.create(budget={"trials": 1})
    grant = await one.claim(name)
    await one.report(grant, 1, 0.5)
    await one.reap()
    await expire(replicas)
    num_lost, finished = await order.of(replicas, one.reap, lambda: other.finish(grant))
    assert num_lost == (1 if order.first == 0 else 0)
    assert finished == FinishReply(trial_state=TrialState.COMPLETED, values=[0.5])
    trial = await one.trial(name, 0)
    assert [attempt.state for attempt in trial.attempts] == [AttemptState.SUCCEEDED]
    kinds = await one.kinds(name)
    assert kinds.count("attempt_lost") == kinds.count("attempt_reattached") == num_lost
    assert kinds.count("trial_completed") == 1
    assert (await one.study(name)).state is StudyState.COMPLETED
    assert await clean(one)


async def test_reap_and_report_keep_the_value_and_the_trial_runs_on(
    replicas: tuple[Replica, Replica], order: Order
) -> None:
    one, other = replicas
    name = await one.create()
    grant = await one.claim(name)
    await one.reap()
    await expire(replicas)
    num_lost, verdict = await order.of(replicas, one.reap, lambda: other.report(grant, 1, 0.5))
    assert isinstance(verdict, Verdict)
    # A report is no renewal: who comes second is the reaper with its look, and the lease is still expired.
    assert num_lost == 1
    trial = await one.trial(name, 0)
    assert trial.series[0].values == [0.5]
    assert trial.state is (TrialState.RUNNING if order.first == 0 else TrialState.WAITING)
    assert await clean(one)


async def test_stop_and_finish_leave_the_result_and_stop_the_study_once(
    replicas: tuple[Replica, Replica], order: Order
) -> None:
    one, other = replicas
    name = await one.create()
    grant = await one.claim(name)
    await one.report(grant, 1, 0.5)
    study, finished = await order.of(replicas, lambda: stop_study(one.context, name, ""), lambda: other.finish(grant))
    assert isinstance(study, StudyView)
    assert study.state is (StudyState.ACTIVE if order.first == 0 else StudyState.STOPPED)
    assert finished == FinishReply(trial_state=TrialState.COMPLETED, values=[0.5])
    assert (await one.study(name)).state is StudyState.STOPPED
    assert (await one.kinds(name)).count("study_stopped") == 1
    assert await clean(one)


async def test_stop_and_release_cancel_the_trial_once(replicas: tuple[Replica, Replica], order: Order) -> None:
    one, other = replicas
    name = await one.create()
    grant = await one.claim(name)
    _, finished = await order.of(
        replicas, lambda: stop_study(one.context, name, ""), lambda: other.finish(grant, "released")
    )
    assert finished.trial_state == (TrialState.CANCELLED if order.first == 0 else TrialState.WAITING)
    assert (await one.trial(name, 0)).state is TrialState.CANCELLED
    assert (await one.study(name)).state is StudyState.STOPPED
    kinds = await one.kinds(name)
    assert kinds.count("trial_cancelled") == kinds.count("study_stopped") == 1
    assert await clean(one)


async def test_stop_and_late_finish_of_one_trial_have_one_winner(
    replicas: tuple[Replica, Replica], order: Order
) -> None:
    one, other = replicas
    name, old = await lost(replicas)
    _, finished = await order.of(replicas, lambda: stop_study(one.context, name, ""), lambda: other.finish(old))
    trial = await one.trial(name, 0)
    if order.first == 0:
        assert code(finished) is ErrorCode.ATTEMPT_ENDED
        assert (trial.state, trial.values) == (TrialState.CANCELLED, None)
    else:
        assert finished.values == trial.values == [0.5]
        assert trial.state is TrialState.COMPLETED
    assert (await one.study(name)).state is StudyState.STOPPED
    assert await clean(one)


async def test_stop_and_claim_leave_no_orphaned_attempt(replicas: tuple[Replica, Replica], order: Order) -> None:
    one, other = replicas
    name = await one.create()
    study, granted = await order.of(replicas, lambda: stop_study(one.context, name, ""), lambda: other.ask(name))
    if order.first == 0:
        assert study.state is StudyState.STOPPED
        assert isinstance(granted, NoTrial)
        assert await one.trials(name) == []
    else:
        assert study.state is StudyState.ACTIVE
        assert (await one.heartbeat(granted)).order is Action.STOP
        assert (await one.finish(granted, "released")).trial_state == TrialState.CANCELLED
        assert (await one.study(name)).state is StudyState.STOPPED
    assert await clean(one)


@dataclass(frozen=True)
class Beaten:
    """A worker whose lease has expired, about to be reaped and to be heard of again."""

    name: str
    grant: Grant
    reap: Call
    heartbeat: Call


@pytest.fixture
async def beaten(replicas: tuple[Replica, Replica]) -> Beaten:
    one, other = replicas
    name = await one.create()
    grant = await one.claim(name)
    await one.reap()
    await expire(replicas)
    return Beaten(
        name, grant, reap=Call(one, one.reap), heartbeat=Call(other, lambda: other.heartbeat(grant), RENEW_LEASE)
    )


async def settled(beaten: Beaten, num_lost: int, status: LeaseStatus) -> int:
    """Whoever came first: the worker was told that it holds the lease, and it does. Returns how often it was lost."""
    replica = beaten.reap.replica
    assert (status.held, status.order) == (True, Action.CONTINUE)
    trial = await replica.trial(beaten.name, 0)
    assert (trial.state, [each.state for each in trial.attempts]) == (TrialState.RUNNING, [AttemptState.RUNNING])
    kinds = await replica.kinds(beaten.name)
    assert kinds.count("attempt_lost") == kinds.count("attempt_reattached") == num_lost
    assert await replica.reap() == 0
    assert await clean(replica)
    return num_lost


async def test_a_heartbeat_waits_for_the_reaper_and_attaches_the_attempt_again(beaten: Beaten) -> None:
    played = await play(beaten.reap, At.COMMIT, beaten.heartbeat)
    assert await settled(beaten, played.stopped, played.other) == 1
    assert RENEW_LEASE in (played.waited_at or "it waited for nobody")


async def test_the_reaper_leaves_a_lease_alone_that_a_heartbeat_is_renewing(beaten: Beaten) -> None:
    played = await play(beaten.heartbeat, At.COMMIT, beaten.reap)
    assert await settled(beaten, played.other, played.stopped) == 0
    assert played.waited_at is None


async def test_a_heartbeat_that_comes_when_the_lease_is_gone_attaches_the_attempt_again(beaten: Beaten) -> None:
    played = await play(beaten.heartbeat, At.STATEMENT, beaten.reap)
    assert await settled(beaten, played.other, played.stopped) == 1


@pytest.mark.parametrize("statement", [LOCK_STUDY, LOCK_LEASE])
async def test_a_heartbeat_between_the_reapers_look_and_its_lock_on_the_lease_keeps_it(
    beaten: Beaten, statement: str
) -> None:
    reap = Call(beaten.reap.replica, beaten.reap.begin, statement)
    played = await play(reap, At.STATEMENT, beaten.heartbeat)
    assert await settled(beaten, played.stopped, played.other) == 0
    assert played.waited_at is None
