"""Applied remedies: each action is carried out with its journal row, rehearsed without a trace, or refused."""

from __future__ import annotations

from typing import Any

import pytest

from service.contract.finding import Confidence, Finding, Remedy, RemedyName
from service.contract.problem import ErrorCode
from service.contract.remedy import ApplyReply, ApplyRequest
from service.contract.study import ExtendRequest
from service.domain.errors import DomainError
from service.storage.tables import Connection
from service.usecases.remedies.apply import apply_remedy
from service.usecases.remedies.attach import with_actions
from service.usecases.studies import lifecycle, study_lookup
from service.usecases.studies.study_lookup import find_study
from tests.usecases.replica import Replica

pytestmark = pytest.mark.anyio

TASK = {
    "train": {
        "data": {"name": "digits"},
        "model": {"name": "mlp"},
        "loss": {"name": "cross_entropy"},
        "optimizer": {"name": "sgd"},
        "epochs": 3,
    }
}
SPACE = {"optimizer.lr": {"type": "float", "low": 1e-4, "high": 1.0, "log": True}}


async def study(replica: Replica, num_trials: int = 1, **changes: Any) -> str:
    """A study of the training core with completed trials."""
    name = await replica.create(**({"task": TASK, "space": SPACE, "budget": {"trials": 3}} | changes))
    for _ in range(num_trials):
        grant = await replica.claim(name)
        await replica.report(grant, 1, 0.5)
        await replica.checkpoint(grant, 1)
        await replica.report(grant, 2, 0.4, 0.3)
        await replica.finish(grant)
    return name


async def apply(replica: Replica, name: str, action: dict[str, Any], **more: Any) -> ApplyReply:
    given = {"action": action, "version": (await replica.study(name)).spec_version, "rule": "planted"} | more
    return await apply_remedy(replica.context, name, ApplyRequest.model_validate(given))


async def applied(replica: Replica, name: str) -> list[dict[str, Any]]:
    return [
        event.data for event in (await study_lookup.list_events(replica.context, name, 0, 100, "remedy_applied")).events
    ]


def enqueue(rate: float) -> dict[str, Any]:
    return {"kind": "enqueue", "parameters": {"optimizer.lr": rate}}


async def test_a_configuration_is_tried_next_and_the_journal_names_the_finding(replica: Replica) -> None:
    name = await study(replica)
    reply = await apply(replica, name, enqueue(0.02), rule="diverged", trial=0, remedy="lower_rate")
    assert (reply.kind, reply.study, reply.changes) == ("enqueue", name, ["queue: optimizer.lr=0.02"])
    (row,) = await applied(replica, name)
    assert (row["rule"], row["trial"], row["remedy"]) == ("diverged", 0, "lower_rate")
    assert "follow_up" not in row
    assert (await replica.claim(name)).parameters == {"optimizer.lr": 0.02}


async def test_a_configuration_that_was_tried_or_waits_is_refused(replica: Replica) -> None:
    name = await study(replica)
    (trial,) = await replica.trials(name)
    tried = {"kind": "enqueue", "parameters": trial.parameters}
    with pytest.raises(DomainError, match=r"trial 0 of .* has this configuration already") as caught:
        await apply(replica, name, tried)
    assert caught.value.code is ErrorCode.ALREADY_TRIED
    await apply(replica, name, enqueue(0.02))
    with pytest.raises(DomainError, match="waits in the queue"):
        await apply(replica, name, enqueue(0.02))
    assert len(await applied(replica, name)) == 1
    await apply(replica, name, tried, remedy="repeat_seeds")


async def test_an_edit_and_its_configuration_are_one_write_and_a_completed_study_goes_on(replica: Replica) -> None:
    name = await study(replica, num_trials=1, budget={"trials": 1})
    assert (await replica.study(name)).state == "completed"
    decay = {"type": "float", "low": 1e-5, "high": 0.1, "log": True}
    action = {
        "kind": "edit",
        "changes": {"space.optimizer.weight_decay": decay, "budget.trials": 2},
        "enqueue": {"optimizer.lr": 0.1, "optimizer.weight_decay": 0.01},
    }
    reply = await apply(replica, name, action)
    assert "budget.trials: 1 -> 2" in reply.changes
    view = await replica.study(name)
    assert (view.state, view.spec_version) == ("active", 2)
    assert (await replica.kinds(name))[-4:] == ["study_edited", "study_extended", "enqueued", "remedy_applied"]
    assert (await replica.claim(name)).parameters == action["enqueue"]


async def test_an_edit_whose_configuration_does_not_fit_changes_nothing(replica: Replica) -> None:
    name = await study(replica)
    before = await replica.stored(name)
    action = {"kind": "edit", "changes": {"budget.trials": 9}, "enqueue": {"optimizer.lr": 7.0}}
    with pytest.raises(DomainError) as caught:
        await apply(replica, name, action)
    assert caught.value.code is ErrorCode.INVALID_PARAMETERS
    assert await replica.stored(name) == before


async def test_a_fork_continues_the_trial_and_the_same_fork_is_refused(replica: Replica) -> None:
    name = await study(replica)
    action = {"kind": "fork", "trial": 0, "settings": {"epochs": 6}}
    assert (await apply(replica, name, action, dry_run=True)).fork is None
    reply = await apply(replica, name, action)
    assert reply.fork is not None
    fork = await replica.trial(name, reply.fork)
    assert (fork.parent_step, fork.run_until) == (1, 6)
    with pytest.raises(DomainError, match=r"continues trial 0 .* with these settings") as caught:
        await apply(replica, name, action)
    assert caught.value.code is ErrorCode.ALREADY_TRIED
    assert (await apply(replica, name, action | {"settings": {"epochs": 9}})).fork is not None


async def test_two_trials_of_one_configuration_may_have_the_same_fork(replica: Replica) -> None:
    name = await study(replica)
    (first,) = await replica.trials(name)
    await apply(replica, name, {"kind": "enqueue", "parameters": first.parameters}, remedy="repeat_seeds")
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)
    await replica.checkpoint(grant, 1)
    for trial in (0, 1):
        await apply(replica, name, {"kind": "fork", "trial": trial, "settings": {"epochs": 6}})
    with pytest.raises(DomainError) as caught:
        await apply(replica, name, {"kind": "fork", "trial": 9, "settings": {"epochs": 6}})
    assert caught.value.code is ErrorCode.UNKNOWN_TRIAL


async def test_a_fork_without_a_checkpoint_is_refused(replica: Replica) -> None:
    name = await replica.create(task=TASK, space=SPACE)
    await replica.train(name, 0.5)
    with pytest.raises(DomainError, match="has saved no checkpoint") as caught:
        await apply(replica, name, {"kind": "fork", "trial": 0, "settings": {"epochs": 6}})
    assert caught.value.code is ErrorCode.STUDY_STATE


async def test_a_budget_is_extended(replica: Replica) -> None:
    name = await study(replica)
    reply = await apply(replica, name, {"kind": "extend", "trials": 5})
    assert reply.changes == ["budget.trials: 3 -> 5"]
    assert (await replica.study(name)).spec.budget.trials == 5
    assert (await replica.kinds(name))[-1] == "remedy_applied"


async def test_a_follow_up_study_says_where_it_comes_from(replica: Replica) -> None:
    name = await study(replica)
    changes = {"task.train.epochs": 6, "resource": None}
    action = {"kind": "follow_up", "name": f"{name}-2", "changes": changes, "enqueue": {"optimizer.lr": 0.5}}
    reply = await apply(replica, name, action, rule="short")
    view = await replica.study(reply.study)
    assert view.name == f"{name}-2"
    assert reply.changes[-1] == "queue: optimizer.lr=0.5"
    assert view.spec.description == f"Follow-up of {name}: finding short"
    assert view.spec.resource is not None
    assert view.spec.resource.max == 6
    assert view.spec.warm_start == [], "values after 3 and after 6 epochs do not compare"
    assert (await replica.claim(view.name)).parameters == {"optimizer.lr": 0.5}
    for each in (name, view.name):
        (row,) = await applied(replica, each)
        assert (row["follow_up"], row["follow_up_of"]) == (view.name, name)
    with pytest.raises(DomainError) as caught:
        await apply(replica, name, {"kind": "follow_up", "name": f"{name}-2", "changes": changes})
    assert caught.value.code is ErrorCode.STUDY_EXISTS


async def test_a_follow_up_study_whose_values_compare_starts_from_the_trials(replica: Replica) -> None:
    name = await study(replica, 2)
    action = {"kind": "follow_up", "name": "next", "changes": {"sampler": {"name": "tpe"}}}
    await apply(replica, name, action)
    view = await replica.study("next")
    assert view.spec.warm_start == [name]
    assert "warm_started" in await replica.kinds("next")


async def test_a_search_is_ended_once(replica: Replica) -> None:
    name = await study(replica)
    await apply(replica, name, {"kind": "stop"}, rule="spent")
    view = await replica.study(name)
    assert (view.state, view.state_reason) == ("stopped", "stopped because of the finding spent")
    with pytest.raises(DomainError, match="has ended or is being stopped"):
        await apply(replica, name, {"kind": "stop"})


@pytest.mark.parametrize("trials", [1, 2])
async def test_a_search_that_is_complete_or_stopping_is_not_ended(replica: Replica, trials: int) -> None:
    name = await study(replica, budget={"trials": trials})
    if trials > 1:
        await replica.claim(name)
        await lifecycle.stop_study(replica.context, name, "")
    assert (await replica.study(name)).state == ("completed" if trials == 1 else "active")
    with pytest.raises(DomainError, match="has ended or is being stopped"):
        await apply(replica, name, {"kind": "stop"})


async def test_a_preflight_is_started(replica: Replica) -> None:
    name = await study(replica)
    reply = await apply(replica, name, {"kind": "preflight"})
    assert reply.look == f"study preflight {name}"
    assert (await replica.kinds(name))[-2:] == ["trial_created", "remedy_applied"]


@pytest.mark.parametrize(
    "action",
    [
        enqueue(0.02),
        {"kind": "edit", "changes": {"space.optimizer.lr.high": 2.0}, "enqueue": {"optimizer.lr": 1.5}},
        {"kind": "fork", "trial": 0, "settings": {"epochs": 6}},
        {"kind": "extend", "trials": 5},
        {"kind": "follow_up", "name": "next", "changes": {"task.train.epochs": 6, "resource": None}},
        {"kind": "stop"},
        {"kind": "preflight"},
    ],
    ids=lambda action: action["kind"],
)
async def test_a_dry_run_tells_the_same_and_stores_nothing(replica: Replica, action: dict[str, Any]) -> None:
    name = await study(replica)
    before, kinds = await replica.stored(name), await replica.kinds(name)
    told = await apply(replica, name, action, dry_run=True)
    assert told.sentence.startswith("would ")
    assert (await replica.stored(name), await replica.kinds(name)) == (before, kinds)
    assert [each.name for each in (await study_lookup.list_studies(replica.context)).studies] == [name]
    done = await apply(replica, name, action)
    assert done.changes == told.changes
    assert done.sentence == told.sentence.replace("would ", "done: ")
    assert len(await applied(replica, name)) == 1


@pytest.mark.parametrize(
    "action",
    [enqueue(0.02), {"kind": "extend", "trials": 5}, {"kind": "follow_up", "name": "next", "changes": {"priority": 1}}],
    ids=lambda action: action["kind"],
)
async def test_an_action_for_another_version_of_the_spec_is_refused(replica: Replica, action: dict[str, Any]) -> None:
    name = await study(replica)
    await lifecycle.extend_study(replica.context, name, ExtendRequest(trials=4))
    before = await replica.stored(name)
    with pytest.raises(DomainError, match="at version 2 of its spec, and this action was made for version 1") as caught:
        await apply(replica, name, action, version=1)
    assert caught.value.code is ErrorCode.STUDY_CHANGED
    assert await replica.stored(name) == before


async def actions(replica: Replica, name: str, trial: int | None, *names: RemedyName) -> list[str | None]:
    remedies = [Remedy(name=each, sentence="Do it.") for each in names]
    finding = Finding(rule="r", confidence=Confidence.HIGH, sentence="It is so.", remedies=remedies, trial=trial)

    def read(connection: Connection) -> list[Finding]:
        return with_actions(connection, replica.context, find_study(connection, name), [finding])

    (found,) = await replica.context.database.read(read)
    return [None if remedy.action is None else remedy.action.kind for remedy in found.remedies]


async def test_findings_carry_the_actions_that_fit_the_state(replica: Replica) -> None:
    name = await study(replica)
    wanted = [RemedyName.TRAIN_LONGER, RemedyName.RAISE_RATE, RemedyName.CHECK_LABELS, RemedyName.END_STUDY]
    assert await actions(replica, name, 0, *wanted) == ["fork", "enqueue", None, "stop"]
    assert await actions(replica, name, None, *wanted) == ["follow_up", "enqueue", None, "stop"]
    await lifecycle.stop_study(replica.context, name, "")
    assert await actions(replica, name, 0, *wanted) == [None, None, None, None]
    assert await actions(replica, name, None, *wanted) == ["follow_up", None, None, None]
