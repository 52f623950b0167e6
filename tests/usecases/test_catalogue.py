"""Custom entries: workers register them, studies choose them, and only workers that have them get the trials."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from service.contract.claim import Grant, NoTrial
from service.contract.custom_entries import EntriesReply, EntriesRequest
from service.contract.problem import ErrorCode
from service.contract.report import ReportRequest
from service.contract.study import EditRequest
from service.domain.errors import DomainError
from service.storage import tables
from service.usecases.catalogue import list_catalogue, register_entries
from service.usecases.studies.edit import edit_study
from service.usecases.studies.planning import plan_study
from tests.usecases.replica import Replica, points, spec_of

pytestmark = pytest.mark.anyio

WIDTH = {"type": "int", "default": 8, "low": 1, "high": 64, "description": "of the layer"}
NET = {"description": "A net of mine.", "parameters": {"width": WIDTH}, "facts": {"inputs": ["images"]}}
TASK = {
    "train": {
        "data": {"name": "digits"},
        "model": {"name": "my_net"},
        "loss": {"name": "cross_entropy"},
        "optimizer": {"name": "sgd", "momentum": 0.9},
        "epochs": 5,
    }
}
SPACE = {"model.width": {"type": "int", "low": 2, "high": 32}}


async def tell(replica: Replica, worker: str = "w", **registries: Any) -> EntriesReply:
    told = registries or {"model": {"my_net": NET}}
    request = EntriesRequest.model_validate({"worker": worker, "registries": told})
    return await register_entries(replica.context, request)


async def with_net(replica: Replica, **changes: Any) -> tuple[str, dict[str, Any]]:
    """A study of an own model, and what a worker offers that has it."""
    reply = await tell(replica)
    return await replica.create(task=TASK, space=SPACE, **changes), {"entries": reply.entries}


async def test_an_entry_that_no_worker_registered_is_refused_with_a_remedy(replica: Replica) -> None:
    with pytest.raises(DomainError) as caught:
        await replica.create(task=TASK, space=SPACE)
    assert caught.value.code is ErrorCode.INVALID_SPEC
    (error,) = caught.value.errors
    assert error.path == "task.train.model.name"
    assert error.message.startswith("there is no model 'my_net'; known: gpt, gru, ")
    assert error.message.endswith("For one of your own, start a worker with --register MODULE first")


async def test_a_registered_entry_can_be_chosen_and_its_options_are_checked(replica: Replica) -> None:
    name, offers = await with_net(replica)
    grant = await replica.claim(name, **offers)
    assert grant.task is not None
    assert grant.task["model"] == {"name": "my_net", "width": grant.parameters["model.width"]}
    assert (await replica.trial(name, 0)).config == grant.task
    for wrong, said in (
        ({"model.width": {"type": "int", "low": 0, "high": 8}}, "must be at least 1, got 0"),
        ({"model.widht": {"type": "int", "low": 1, "high": 8}}, "did you mean 'model.width'?"),
    ):
        with pytest.raises(DomainError, match=said):
            await plan_study(replica.context, spec_of(task=TASK, space=wrong))


async def test_a_chosen_name_drops_options_of_the_base_that_it_does_not_know(replica: Replica) -> None:
    reply = await tell(replica, optimizer={"mine": {"parameters": {"lr": {"type": "float", "default": 1}}}})
    train = TASK["train"] | {"model": {"name": "linear"}}
    space = {"optimizer.name": {"type": "categorical", "choices": ["mine"]}}
    name = await replica.create(task={"train": train}, space=space, sampler="grid", budget={})
    grant = await replica.claim(name, entries=reply.entries)
    assert (grant.task or {})["optimizer"] == {"name": "mine"}
    assert grant.dropped == ["optimizer.momentum"]


async def test_telling_it_again_changes_nothing_and_with_other_options_says_so(replica: Replica) -> None:
    first = await tell(replica)
    assert first.notes == []
    assert await tell(replica) == first
    reworded = NET | {"description": "Said otherwise."}
    assert await tell(replica, model={"my_net": reworded}) == first
    other = await tell(replica, "cellar", model={"my_net": {"parameters": {"depth": {"type": "int", "default": 1}}}})
    assert other.entries != first.entries
    (note,) = other.notes
    assert note == (
        "worker cellar registered model 'my_net' with other options than worker w before; the new ones apply, and "
        "workers with others get no trials that choose it"
    )
    whole = await list_catalogue(replica.context)
    assert list(whole.registries["model"]["my_net"].parameters) == ["depth"]
    assert whole.custom["model"]["my_net"].worker == "cellar"


async def test_the_catalogue_lists_the_cores_entries_and_custom_ones(replica: Replica) -> None:
    await tell(replica, model={"my_net": NET}, loss={"my_loss": {}})
    whole = await list_catalogue(replica.context)
    core = replica.context.catalogue
    assert {section: set(entries) - set(core.registries[section]) for section, entries in whole.registries.items()} == {
        section: {"model": {"my_net"}, "loss": {"my_loss"}}.get(section, set()) for section in core.registries
    }
    assert whole.registries["model"]["my_net"].description == "A net of mine."
    assert {section: set(told) for section, told in whole.custom.items()} == {"model": {"my_net"}, "loss": {"my_loss"}}


@pytest.mark.parametrize(
    ("told", "code", "said"),
    [
        (
            {"model": {"mlp": NET}},
            ErrorCode.ENTRY_TAKEN,
            "registries.model.mlp: .* has a model 'mlp' already",
        ),
        ({"modle": {"x": NET}}, ErrorCode.INVALID_REQUEST, "registries.modle: .* did you mean 'model'?"),
    ],
)
async def test_entries_that_shadow_the_core_or_have_no_section_are_refused(
    replica: Replica, told: dict[str, Any], code: ErrorCode, said: str
) -> None:
    with pytest.raises(DomainError, match=said) as caught:
        await tell(replica, loss={"fine": {}}, **told)
    assert caught.value.code is code
    assert (await list_catalogue(replica.context)).custom == {}


async def test_a_study_gives_trials_only_to_workers_with_the_newest_version_of_its_entries(replica: Replica) -> None:
    name, offers = await with_net(replica)
    lacks = f"{name}: the model 'my_net' is not built in; start a worker with --register and the module that adds it"
    for wanted in (name, None):
        answer = await replica.ask(wanted, worker="plain")
        assert isinstance(answer, NoTrial)
        assert answer.reason == lacks
    await tell(
        replica, "newer", model={"my_net": {"parameters": {"width": WIDTH, "depth": {"type": "int", "default": 1}}}}
    )
    answer = await replica.ask(name, **offers)
    assert isinstance(answer, NoTrial)
    assert answer.reason == (
        f"{name}: the model 'my_net' has other options by now; start this worker again with the newest module"
    )
    assert (await replica.study(name)).num_trials == {}


async def editable(replica: Replica) -> str:
    """A study of the core's losses alone, to which `choose_my_loss` adds one."""
    losses = {"loss.name": {"type": "categorical", "choices": ["cross_entropy", "focal"]}}
    train = TASK["train"] | {"model": {"name": "linear"}}
    plain = {"metric": "val/cross_entropy", "direction": "minimize"}
    return await replica.create(task={"train": train}, objective=plain, space=losses, budget={"trials": 9})


async def choose_my_loss(replica: Replica, name: str) -> dict[str, Any]:
    """What a worker offers that has it."""
    reply = await tell(replica, loss={"my_loss": {}})
    spec = (await replica.study(name)).spec
    losses = {"loss.name": {"type": "categorical", "choices": ["cross_entropy", "focal", "my_loss"]}}
    wanted = spec.model_validate(spec.model_dump() | {"space": losses})
    await edit_study(replica.context, name, EditRequest(spec=wanted, version=1))
    return {"entries": reply.entries}


async def test_an_edit_may_choose_a_custom_entry_and_running_trials_continue(replica: Replica) -> None:
    name = await editable(replica)
    running = await replica.claim(name, worker="plain")
    offers = await choose_my_loss(replica, name)
    assert isinstance(await replica.ask(name, worker="plain"), NoTrial)
    await replica.report(running, 1, 0.5)
    assert (await replica.claim(name, **offers)).number == 1


async def test_a_claim_that_waits_for_its_turn_goes_by_the_spec_that_it_then_finds(replica: Replica) -> None:
    name = await editable(replica)
    async with replica.context.claim_lock((await replica.study(name)).id):
        asked = asyncio.create_task(replica.ask(name, worker="plain"))
        await eventually_queued(replica, (await replica.study(name)).id)
        await choose_my_loss(replica, name)
    answer = await asked
    assert isinstance(answer, NoTrial)
    assert "the loss 'my_loss' is not built in" in answer.reason


async def eventually_queued(replica: Replica, study_id: str) -> None:
    """Wait until a claim has looked at the studies and waits for the turn of this one."""
    while not replica.context.claim_lock(study_id)._waiters:  # noqa: ASYNC110 - a lock tells nobody who waits
        await asyncio.sleep(0.001)


async def test_a_fork_that_chooses_one_waits_for_a_worker_that_has_it(replica: Replica) -> None:
    train = TASK["train"] | {"model": {"name": "linear"}}
    name = await replica.create(task={"train": train}, space={"batch_size": {"type": "int", "low": 8, "high": 64}})
    reply = await tell(replica, loss={"my_loss": {"parameters": {"sharp": {"type": "float", "default": 1.0}}}})
    parent = await replica.claim(name)
    await replica.checkpoint(parent, 1, points_of(parent))
    fork = await replica.fork(name, 0, **{"loss.name": "my_loss", "loss.sharp": 2.0})
    other = await replica.claim(name, worker="plain")
    assert other.number == 1, "the fork waits, and the search goes on"
    await replica.claim(name, worker="plain")
    answer = await replica.ask(name, worker="plain")
    assert isinstance(answer, NoTrial)
    assert answer.reason.endswith("start a worker with --register and the module that adds it")
    grant = await replica.claim(name, entries=reply.entries)
    assert grant.trial == fork.id
    assert (grant.task or {})["loss"] == {"name": "my_loss", "sharp": 2.0}


def points_of(grant: Grant) -> ReportRequest:
    return ReportRequest(nonce=grant.nonce, sequence=1, points=points(0.5, step=1, metric=grant.monitor.metric))


async def test_a_study_that_no_living_worker_can_train_says_why(replica: Replica) -> None:
    name, offers = await with_net(replica)
    assert (await replica.study(name)).no_worker_reason is None, "nobody is there to ask"
    await replica.ask(name, worker="plain")
    assert (await replica.study(name)).no_worker_reason == (
        "the model 'my_net' is not built in; start a worker with --register and the module that adds it"
    )
    await replica.claim(name, **offers)
    assert (await replica.study(name)).no_worker_reason is None
    with replica.database.writer.begin() as connection:
        connection.execute(tables.worker.update().where(tables.worker.c.name == "w").values(last_seen_at=0))
    assert (await replica.study(name)).no_worker_reason is not None, "the one that has it is gone"
    required = await replica.create(requires={"labels": {"room": "cellar"}}, task={"command": ["true"]})
    assert (await replica.study(required)).no_worker_reason == "requires a worker with --label room=cellar"
    small, large = ([{"kind": "cuda", "index": index, "memory_gib": gib}] for index, gib in ((0, 8), (1, 80)))
    demanding = await replica.create(requires={"gpu_memory_gib": 40}, task={"command": ["true"]})
    await replica.ask(demanding, worker="two", devices=small, slots={"0": small})
    assert (await replica.study(demanding)).no_worker_reason is not None
    await replica.ask(demanding, worker="two", devices=small, slots={"0": small, "1": large})
    assert (await replica.study(demanding)).no_worker_reason is None, "its other slot would do"
    assert (await replica.study(await replica.create())).no_worker_reason is None, (
        "no worker drives a study without a task"
    )


async def test_code_is_compared_with_the_modules_only_where_their_entries_are_chosen(replica: Replica) -> None:
    core, ours, theirs = "a" * 64, "b" * 64, "c" * 64
    name, offers = await with_net(replica, code_policy="same")
    await replica.claim(name, code=core, custom_code=ours, **offers)
    assert (await replica.trial(name, 0)).attempts[0].code == ours
    answer = await replica.ask(name, worker="v", code=core, custom_code=theirs, **offers)
    assert isinstance(answer, NoTrial)
    assert "this worker has cccccccccccc" in answer.reason
    train = TASK["train"] | {"model": {"name": "linear"}}
    plain = await replica.create(task={"train": train}, space={"batch_size": {"type": "int", "low": 8, "high": 64}})
    for worker, custom_code in (("v", ours), ("w", theirs), ("x", None)):
        await replica.claim(plain, worker=worker, code=core, custom_code=custom_code)
    assert {attempt.code for number in range(3) for attempt in (await replica.trial(plain, number)).attempts} == {core}


async def test_two_workers_may_tell_the_same_for_the_first_time_at_once(replicas: tuple[Replica, Replica]) -> None:
    first, second = replicas
    told = await asyncio.gather(*(tell(each, worker) for worker in ("v", "w") for each in (first, second)))
    assert len({str(reply.entries) for reply in told}) == 1
    assert all(reply.notes == [] for reply in told)
    assert [*(await list_catalogue(first.context)).custom["model"]] == ["my_net"]
