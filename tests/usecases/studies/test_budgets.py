"""Budgets of time, devices, failures, target and progress: exact at the claim, and checked where nobody claims."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import pytest
import sqlalchemy as sa

from service.contract.attempt import FailureClass
from service.contract.capabilities import Device
from service.contract.claim import Grant, NoTrial
from service.contract.study import ExtendRequest, StudyState
from service.contract.trial import TrialState
from service.domain.budget import since_improvement
from service.domain.errors import DomainError
from service.storage import tables
from service.storage.fsck.invariants import check
from service.storage.queries import studies
from service.storage.timestamps import MICROSECONDS
from service.usecases.maintenance.budget_expiry import complete_expired_studies
from service.usecases.studies import lifecycle
from service.usecases.study_views import StudyViews
from tests.usecases.interleaving import Order
from tests.usecases.replica import Replica

pytestmark = pytest.mark.anyio

HOUR = 3600 * MICROSECONDS


async def pass_time(replica: Replica, name: str, hours: float) -> None:
    """Let the study and its attempts have begun so much earlier, which to the database's clock is the same."""
    earlier = int(hours * HOUR)
    study_id = (await replica.study(name)).id
    study, attempt = tables.study, tables.attempt
    with replica.database.writer.begin() as connection:
        connection.execute(study.update().values(active_since=study.c.active_since - earlier))
        begun = attempt.update().where(attempt.c.study_id == study_id, attempt.c.ended_at.is_(None))
        connection.execute(begun.values(started_at=attempt.c.started_at - earlier))
    # No transaction of the service moves an instant without the revision.
    replica.context = replace(replica.context, views=StudyViews())


async def clean(replica: Replica) -> bool:
    return not any(each.broken for each in await replica.database.read(check))


async def refused(replica: Replica, name: str) -> str:
    answer = await replica.ask(name)
    assert isinstance(answer, NoTrial)
    return answer.reason


async def test_when_the_hours_are_over_nothing_begins_and_what_runs_ends(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 9, "hours": 2})
    running = await replica.claim(name)
    await pass_time(replica, name, 1.9)
    also_running = await replica.claim(name)
    await pass_time(replica, name, 0.2)
    assert "the budget of 2 h is used up; 2 are still open" in await refused(replica, name)
    for grant in (running, also_running):
        verdict = await replica.report(grant, 1, 0.5)
        assert verdict.action == "continue"
        await replica.finish(grant)
    view = await replica.study(name)
    assert (view.state, view.state_reason) == (StudyState.COMPLETED, "the budget of 2 h is used up")
    assert [trial.state for trial in await replica.trials(name)] == [TrialState.COMPLETED] * 2
    assert await clean(replica)


async def test_hours_begin_with_the_first_trial(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 9, "hours": 1})
    with replica.database.writer.begin() as connection:
        connection.execute(tables.study.update().values(created_at=tables.study.c.created_at - 5 * HOUR))
    assert isinstance(await replica.ask(name), Grant)


async def test_while_a_study_is_paused_its_hours_do_not_pass(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 9, "hours": 2})
    await replica.train(name, 0.5)
    await pass_time(replica, name, 1)
    await lifecycle.pause_study(replica.context, name, "")
    row = await replica.database.read(lambda connection: studies.find(connection, name))
    assert row is not None
    assert row.active_since is None
    assert row.active_microseconds == pytest.approx(HOUR, rel=0.01)
    await lifecycle.resume_study(replica.context, name)
    await replica.train(name, 0.5)
    await pass_time(replica, name, 1)
    assert await refused(replica, name) == "the named studies are over"
    assert (await replica.study(name)).state_reason == "the budget of 2 h is used up"


async def test_a_study_whose_hours_end_is_completed_without_a_claim(replica: Replica) -> None:
    name, other = await replica.create(budget={"hours": 1}), await replica.create(budget={})
    for each in (name, other):
        await replica.train(each, 0.5)
    await complete_expired_studies(replica.context)
    assert (await replica.study(name)).state is StudyState.ACTIVE
    await pass_time(replica, name, 1)
    await complete_expired_studies(replica.context)
    assert (await replica.study(name)).state is StudyState.COMPLETED
    assert (await replica.study(other)).state is StudyState.ACTIVE


async def test_device_hours_are_those_of_all_attempts(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 9, "device_hours": 3})
    grants = [await replica.claim(name, worker=worker) for worker in ("a", "b")]
    await pass_time(replica, name, 1)
    await replica.finish(grants[0], "released", failure=FailureClass.PREEMPTED)
    again = await replica.claim(name, worker="c")
    assert (again.number, again.attempt) == (0, 2)
    await pass_time(replica, name, 0.4)
    assert isinstance(await replica.ask(name, worker="d"), Grant)
    await pass_time(replica, name, 0.1)
    reason = "the budget of 3 device-hours is used up"
    assert f"{reason}; 3 are still open" in await refused(replica, name)


async def test_the_hours_of_all_devices_of_a_trial_count(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 9, "device_hours": 2})
    await replica.claim(name, devices=[Device(kind="cuda", index=index) for index in (0, 1)])
    await pass_time(replica, name, 0.9)
    assert (await replica.study(name)).budget_used.device_hours == pytest.approx(1.8, abs=0.01)
    await replica.claim(name, worker="b")
    await pass_time(replica, name, 0.1)
    assert "the budget of 2 device-hours is used up" in await refused(replica, name)


async def test_a_trial_that_was_lost_is_brought_to_its_end_all_the_same(replica: Replica) -> None:
    """It has its number, and was running when the budget was used up: it is no more than that."""
    name = await replica.create(budget={"trials": 9, "failures": 1})
    lost = await replica.claim(name)
    failed = await replica.claim(name, worker="b")
    await replica.fail(failed, FailureClass.USER_EXCEPTION)
    await replica.finish(lost, "released", failure=FailureClass.PREEMPTED)
    again = await replica.claim(name)
    assert (again.number, again.attempt) == (0, 2)
    await replica.report(again, 1, 0.5)
    await replica.finish(again)
    view = await replica.study(name)
    assert view.state_reason == "the budget of failures is used up: 1 of 2 trials have failed"


async def test_a_target_that_is_reached_completes_the_study(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 9, "target": 0.2})
    await replica.train(name, 0.3)
    assert (await replica.study(name)).state is StudyState.ACTIVE
    await replica.train(name, 0.2)
    view = await replica.study(name)
    assert (view.state, view.state_reason) == (StudyState.COMPLETED, "trial 1 reached 0.2, and the target is 0.2")


async def test_no_improvement_completes_the_study(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 9, "no_improvement": 2})
    for value in (0.3, 0.4, 0.2, 0.3, 0.2):
        await replica.train(name, value)
    view = await replica.study(name)
    assert view.state_reason == "the last 2 trials gave no better value than trial  2"


async def test_ends_since_the_best_are_counted_alike_by_the_rule_and_by_the_view(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 9})
    grants = [await replica.claim(name, worker=f"w{number}") for number in range(5)]
    for grant, value in zip([grants[at] for at in (4, 1, 0, 3)], (0.5, 0.2, 0.3, 0.2), strict=True):
        await replica.report(grant, 1, value)
        await replica.finish(grant)
    await replica.fail(grants[2], FailureClass.USER_EXCEPTION)

    def counted(connection: sa.Connection) -> int:
        study = studies.find(connection, name)
        assert study is not None
        history = replica.context.histories.latest(connection, study.id, "loss")
        best = history.best("minimize")
        assert best is not None
        return since_improvement(history, best)

    told = (await replica.study(name)).budget_used.since_improvement
    assert (await replica.database.read(counted), told) == (2, 2)


async def test_promotions_end_with_the_budget_and_what_is_paused_is_pruned(replica: Replica) -> None:
    asha = {"pruner": {"name": "asha", "min": 1}, "resource": {"name": "epoch", "max": 9}}
    name = await replica.create(**asha, budget={"trials": 9, "hours": 1})
    for number in range(3):
        grant = await replica.claim(name)
        await replica.report(grant, 1, number / 10)
        await replica.checkpoint(grant, 1)
        await replica.finish(grant, "paused")
    await pass_time(replica, name, 1)
    assert await refused(replica, name) == "the named studies are over"
    assert (await replica.study(name)).state_reason == "the budget of 1 h is used up"
    assert {trial.state for trial in await replica.trials(name)} == {TrialState.PRUNED}


@dataclass(frozen=True)
class Spent:
    """A budget with 9 trials running, of which the first ends in the way that uses it up."""

    budget: dict[str, Any]
    result: str = "succeeded"


ENDS = {
    "target": Spent({"target": 0.2}),
    "failures": Spent({"failures": 1}, "failed"),
    "progress": Spent({"no_improvement": 1}, "pruned"),
}


async def use_up(replica: Replica, grant: Grant, spent: Spent) -> Any:
    failure = {"failure": FailureClass.USER_EXCEPTION} if spent.result == "failed" else {}
    return await replica.finish(grant, spent.result, **failure)


@pytest.mark.parametrize("spent", ENDS.values(), ids=ENDS)
async def test_a_claim_and_the_end_that_uses_the_budget_up_come_one_after_the_other(
    replicas: tuple[Replica, Replica], order: Order, spent: Spent
) -> None:
    """No number is handed out in a transaction after the one in which the budget was used up."""
    one, other = replicas
    name = await one.create(budget={"trials": 99, **spent.budget})
    if "no_improvement" in spent.budget:
        await one.train(name, 0.1)
    running = await one.claim(name)
    await one.report(running, 1, 0.2)
    answer, _ = await order.of(replicas, lambda: one.ask(name, worker="b"), lambda: use_up(other, running, spent))
    assert isinstance(answer, Grant if order.first == 0 else NoTrial)
    assert await clean(one)


async def test_under_many_claimers_no_more_than_what_was_running_is_made(replicas: tuple[Replica, Replica]) -> None:
    name = await replicas[0].create(budget={"trials": 99, "target": 0.05})

    async def work(number: int) -> None:
        replica = replicas[number % 2]
        while isinstance(grant := await replica.ask(name, worker=f"w{number}"), Grant):
            value = 0.05 if grant.number == 8 else 0.5
            await replica.report(grant, 1, value)
            await replica.finish(grant)

    await asyncio.gather(*(work(number) for number in range(4)))
    made = await replicas[0].trials(name)
    reached = next(trial for trial in made if trial.number == 8)
    assert reached.finished_at is not None
    assert all(trial.created_at <= reached.finished_at for trial in made)
    assert (await replicas[0].study(name)).state is StudyState.COMPLETED
    assert await clean(replicas[0])


async def test_a_study_that_reached_its_target_continues_to_a_better_target(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 9, "target": 0.2})
    await replica.train(name, 0.2)
    view = await lifecycle.extend_study(replica.context, name, ExtendRequest(target=0.1))
    assert (view.state, view.spec.budget.target, view.spec_version) == (StudyState.ACTIVE, 0.1, 2)
    assert isinstance(await replica.ask(name), Grant)


async def test_hours_that_are_over_go_on_when_extended_and_none_pass_in_between(replica: Replica) -> None:
    name = await replica.create(budget={"hours": 1})
    await replica.train(name, 0.5)
    await pass_time(replica, name, 1)
    await complete_expired_studies(replica.context)
    view = await lifecycle.extend_study(replica.context, name, ExtendRequest(hours=2))
    assert view.state is StudyState.ACTIVE
    assert view.budget_used.hours == pytest.approx(1, rel=0.01)
    assert isinstance(await replica.ask(name), Grant)
    assert await clean(replica)


REFUSED = {
    "no more": ({"hours": 2}, "the budget is 2 hours; name more than that to extend it"),
    "no better": ({"target": 0.3}, "the target is 0.2; name a better one to extend it"),
    "one of two": ({"hours": 3, "failures": 1}, "the budget is 1 failed trials; name more than that to extend it"),
    "none so far": ({"no_improvement": 9}, "the study has no budget of trials without improvement, so there is none"),
    "another one ends it": ({"hours": 3}, "trial 0 reached 0.2, and the target is 0.2, so the study would end"),
}


@pytest.mark.parametrize(("wanted", "told"), REFUSED.values(), ids=REFUSED)
async def test_an_extension_that_changes_nothing_is_refused(
    replica: Replica, wanted: dict[str, Any], told: str
) -> None:
    name = await replica.create(budget={"hours": 2, "failures": 1, "target": 0.2})
    await replica.train(name, 0.2)
    with pytest.raises(DomainError, match=told):
        await lifecycle.extend_study(replica.context, name, ExtendRequest.model_validate(wanted))
    view = await replica.study(name)
    assert (view.state, view.spec_version) == (StudyState.COMPLETED, 1)


async def test_the_usage_of_each_budget_is_shown(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 9})
    await replica.train(name, 0.2)
    await replica.train(name, 0.3)
    await replica.fail(await replica.claim(name), FailureClass.USER_EXCEPTION)
    await replica.claim(name)
    await pass_time(replica, name, 0.5)
    used = (await replica.study(name)).budget_used
    assert (used.trials, used.failures, used.since_improvement) == (4, 1, 1)
    assert (used.hours, used.device_hours) == pytest.approx((0.5, 0.5), abs=0.01)
