"""Claims: numbers are exact with any number of claimers and replicas, and a repeated request changes nothing."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from typing import Any

import pytest

from service.contract.attempt import FailureClass
from service.contract.base import TaskKind
from service.contract.capabilities import Capabilities, Device
from service.contract.claim import ClaimRequest, Grant, NoTrial
from service.contract.problem import ErrorCode
from service.contract.study import EnqueueRequest, ExtendRequest, StudyState
from service.contract.trial import TrialState
from service.domain.errors import DomainError
from service.storage import tables
from service.storage.queries import budget_usage, leases
from service.storage.timestamps import MICROSECONDS
from service.storage.unit_of_work import UnitOfWork
from service.usecases.dispatch.claim import claim
from service.usecases.studies import lifecycle
from service.usecases.studies.enqueue import enqueue
from service.usecases.workers import list_workers
from tests.usecases.replica import Replica

pytestmark = pytest.mark.anyio

GRID: dict[str, Any] = {
    "space": {
        "lr": {"type": "categorical", "choices": [0.1, 0.01, 0.001]},
        "hidden": {"type": "categorical", "choices": [[64], [128, 64]]},
        "depth": {"type": "int", "low": 1, "high": 3},
    },
    "sampler": "grid",
    "budget": {},
}


async def claim_all(*replicas: Replica, name: str, num_claims: int) -> list[Grant | NoTrial]:
    """As many claims at once, spread over the replicas, each from a worker of its own."""
    turns = itertools.cycle(replicas)
    return await asyncio.gather(*(next(turns).ask(name, worker=f"w{number}") for number in range(num_claims)))


async def test_budget_and_numbers_are_exact_under_many_claimers(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 25})
    answers = await claim_all(replica, name=name, num_claims=32)
    grants = [answer for answer in answers if isinstance(answer, Grant)]
    assert sorted(grant.number for grant in grants if grant.number is not None) == list(range(25))
    assert len({grant.nonce for grant in grants}) == len({grant.trial for grant in grants}) == 25
    assert [trial.number for trial in await replica.trials(name)] == list(range(25))


async def test_budget_and_numbers_are_exact_over_two_replicas(replicas: tuple[Replica, Replica]) -> None:
    name = await replicas[0].create(budget={"trials": 25})
    answers = await claim_all(*replicas, name=name, num_claims=32)
    numbers = [answer.number for answer in answers if isinstance(answer, Grant)]
    assert sorted(number for number in numbers if number is not None) == list(range(25))
    assert [trial.number for trial in await replicas[1].trials(name)] == list(range(25))


async def test_every_cell_of_a_grid_is_tried_once(replica: Replica) -> None:
    name = await replica.create(**GRID)
    answers = await claim_all(replica, name=name, num_claims=24)
    grants = [answer for answer in answers if isinstance(answer, Grant)]
    cells = {
        (str(grant.parameters["lr"]), str(grant.parameters["hidden"]), grant.parameters["depth"]) for grant in grants
    }
    assert len(grants) == len(cells) == 18
    for grant in grants:
        await replica.report(grant, 1, 0.5)
        await replica.finish(grant)
    assert (await replica.study(name)).state is StudyState.COMPLETED


async def test_a_grid_is_exact_over_two_replicas(replicas: tuple[Replica, Replica]) -> None:
    name = await replicas[0].create(**GRID)
    grants = [each for each in await claim_all(*replicas, name=name, num_claims=24) if isinstance(each, Grant)]
    assert len({str(sorted(grant.parameters.items())) for grant in grants}) == len(grants) == 18


async def test_an_enqueued_configuration_is_tried_once(replicas: tuple[Replica, Replica]) -> None:
    name = await replicas[0].create(budget={"trials": 12})
    await enqueue(replicas[0].context, name, EnqueueRequest(parameters={"lr": 0.05}))
    grants = [each for each in await claim_all(*replicas, name=name, num_claims=12) if isinstance(each, Grant)]
    assert [grant.parameters["lr"] for grant in grants].count(0.05) == 1


async def test_suggestions_depend_on_seed_and_number_alone(replica: Replica) -> None:
    """However many claim at once, a random search is the same search."""
    one_by_one = await replica.create(budget={"trials": 8})
    alone = [(await replica.claim(one_by_one)).parameters for _ in range(8)]
    at_once = await replica.create(budget={"trials": 8})
    together = await claim_all(replica, name=at_once, num_claims=8)
    grants = sorted((each for each in together if isinstance(each, Grant)), key=lambda grant: grant.number or 0)
    assert [grant.parameters for grant in grants] == alone


async def test_a_repeated_claim_is_answered_alike(replica: Replica) -> None:
    name = await replica.create()
    first = await replica.claim(name, request_id="the-request")
    again = await replica.claim(name, request_id="the-request")
    assert (again.trial, again.attempt, again.nonce) == (first.trial, first.attempt, first.nonce)
    assert again.lease_seconds <= first.lease_seconds
    assert len(await replica.trials(name)) == 1


async def test_a_claim_sent_twice_at_once_is_one_claim(replica: Replica) -> None:
    name = await replica.create()
    grants = await asyncio.gather(*(replica.claim(name, request_id="the-request") for _ in range(4)))
    assert len({(grant.trial, grant.nonce) for grant in grants}) == 1
    assert len(await replica.trials(name)) == 1


async def test_a_claim_sent_to_two_replicas_at_once_is_one_claim(replicas: tuple[Replica, Replica]) -> None:
    name = await replicas[0].create()
    grants = await asyncio.gather(*(each.claim(name, request_id="the-request") for each in replicas * 4))
    assert len({(grant.trial, grant.nonce) for grant in grants}) == 1
    assert len(await replicas[0].trials(name)) == 1


async def test_a_request_id_is_one_workers(replica: Replica) -> None:
    name = await replica.create()
    await replica.claim(name, request_id="the-request", worker="first")
    with pytest.raises(DomainError, match="request id 'the-request' is worker first's") as caught:
        await replica.claim(name, request_id="the-request", worker="second")
    assert caught.value.code is ErrorCode.CLAIM_CONFLICT


async def test_the_slots_of_a_new_worker_may_claim_at_once(replicas: tuple[Replica, Replica]) -> None:
    """All of them find no row of the worker yet."""
    name = await replicas[0].create(budget={"trials": 8})
    grants = await asyncio.gather(*(each.claim(name, worker="new") for each in replicas * 4))
    assert len({grant.number for grant in grants}) == 8
    (view,) = (await list_workers(replicas[0].context)).workers
    assert (view.name, view.num_leases, view.alive) == ("new", 8, True)


async def test_another_protocol_is_refused(replica: Replica) -> None:
    with pytest.raises(DomainError, match="the worker speaks protocol 99, this service 1; install the same") as caught:
        await claim(replica.context, ClaimRequest(request_id="12345678", worker="w", protocol=99))
    assert caught.value.code is ErrorCode.PROTOCOL_VERSION


async def test_a_worker_gets_only_what_it_can_execute(replica: Replica) -> None:
    name = await replica.create()
    request = ClaimRequest(
        request_id=secrets.token_hex(8), worker="w", capabilities=Capabilities(tasks=[TaskKind.TRAIN])
    )
    answer = await claim(replica.context, request)
    assert isinstance(answer, NoTrial)
    assert answer.reason == "no active study has a task that this worker executes"
    assert not answer.done
    assert (await replica.study(name)).num_trials == {}


@pytest.mark.parametrize(
    ("task", "flag"), [({"function": "mine:train"}, "functions"), ({"command": ["true"]}, "commands")]
)
async def test_a_users_own_code_goes_only_to_a_worker_that_allows_it(
    replica: Replica, task: dict[str, Any], flag: str
) -> None:
    name = await replica.create(task=task)
    request = ClaimRequest(request_id=secrets.token_hex(8), worker="w", studies=[name])
    answer = await claim(replica.context, request)
    assert isinstance(answer, NoTrial)
    assert answer.reason == f"{name}: its task is a {flag[:-1]}; start a worker with --allow-{flag}"
    allowed = Capabilities(tasks=[TaskKind(flag[:-1])])
    request = ClaimRequest(request_id=secrets.token_hex(8), worker="w", studies=[name], capabilities=allowed)
    grant = await claim(replica.context, request)
    assert isinstance(grant, Grant)
    assert grant.task in ({"name": "mine:train", "style": "assayer"}, {"argv": ["true"], **NOTHING_MORE})


async def test_a_function_goes_only_to_a_worker_that_allows_its_module(replica: Replica) -> None:
    name = await replica.create(task={"function": "mine.training:train"})
    answer = await replica.ask(name, functions=["other"])
    assert isinstance(answer, NoTrial)
    assert answer.reason == (
        f"{name}: its function is of mine.training; start a worker with --allow-functions mine.training"
    )
    assert (await replica.claim(name, functions=["other", "mine"])).number == 0


NOTHING_MORE = {"directory": None, "environment": {}, "metrics": {}, "step": None}


async def test_the_service_chooses_by_priority_then_by_the_smaller_share_then_the_older(replica: Replica) -> None:
    names = {
        await replica.create(priority=priority): label
        for label, priority in (("older", 0), ("newer", 0), ("urgent", 1))
    }
    answers = [await replica.ask(None) for _ in range(7)]
    chosen = [names[answer.study_name] for answer in answers if isinstance(answer, Grant)]
    assert chosen == ["urgent", "urgent", "urgent", "older", "newer", "older", "newer"]


async def used(replica: Replica, name: str, seconds: int) -> None:
    """Let the study's only attempt so far have taken so long, and end."""
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)
    await replica.finish(grant)
    end = replica.database.dialect.now

    def work(unit_of_work: UnitOfWork) -> None:
        table, now = tables.attempt, end(unit_of_work.connection)
        began = table.update().where(table.c.trial_id == grant.trial)
        unit_of_work.connection.execute(began.values(started_at=now - seconds * 1_000_000, ended_at=now))

    await replica.context.transact(None, work)


async def test_among_equal_priorities_the_owner_with_the_least_usage_is_served(replica: Replica) -> None:
    busy = await replica.create(owner="ann", budget={"trials": 9})
    other = await replica.create(owner="ann", budget={"trials": 9})
    modest = await replica.create(owner="bob", budget={"trials": 9})
    await used(replica, busy, 3600)
    await used(replica, modest, 3500)
    chosen = [(await replica.claim(None)).study_name for _ in range(4)]
    assert chosen == [modest, modest, busy, modest]  # the third claim finds bob at 3500 + 2 * 60 s
    await used(replica, modest, 9999)
    assert {(await replica.claim(None)).study_name for _ in range(4)} == {busy}
    await used(replica, other, 24 * 3600)  # what one study of an owner used counts for all of them
    assert (await replica.claim(None)).study_name == modest


async def test_use_of_days_ago_is_forgotten(replica: Replica) -> None:
    unused = await replica.create(owner="eve", budget={"trials": 9})
    first = await replica.create(owner="ann", budget={"trials": 9})
    second = await replica.create(owner="bob", budget={"trials": 9})
    await used(replica, second, 60)
    await used(replica, first, 3600)

    def work(unit_of_work: UnitOfWork) -> None:
        table = tables.attempt
        day = 24 * 3600 * 1_000_000
        query = table.update().where(table.c.started_at < table.c.ended_at - 1_000_000_000)
        shifted = {"started_at": table.c.started_at - day, "ended_at": table.c.ended_at - day}
        unit_of_work.connection.execute(query.values(**shifted))

    await replica.context.transact(None, work)
    assert [(await replica.claim(None)).study_name for _ in range(2)] == [unused, first]


async def test_a_study_is_only_for_workers_that_meet_what_it_requires(replica: Replica) -> None:
    name = await replica.create(requires={"gpu_memory_gib": 20, "labels": {"room": "cellar"}})
    small, large = (Device(kind="cuda", memory_gib=memory) for memory in (16, 24))
    answer = await replica.ask(name, devices=[small])
    assert isinstance(answer, NoTrial)
    assert answer.reason == f"{name}: requires a GPU with 20 GiB; this worker has 16 GiB"
    answer = await replica.ask(name, devices=[large])
    assert isinstance(answer, NoTrial)
    assert answer.reason == f"{name}: requires a worker with --label room=cellar"
    assert isinstance(await replica.ask(name, devices=[large], labels={"room": "cellar"}), Grant)


async def test_a_released_trial_goes_to_the_next_claim(replica: Replica) -> None:
    name = await replica.create()
    first = await replica.claim(name)
    await replica.report(first, 1, 0.5)
    await replica.finish(first, "released")
    second = await replica.claim(name, worker="other")
    assert (second.trial, second.number, second.attempt) == (first.trial, 0, 2)
    assert second.parameters == first.parameters
    assert second.nonce != first.nonce
    detail = await replica.trial(name, 0)
    assert [series.steps for series in detail.series] == []


async def test_a_failed_cell_of_a_grid_is_tried_again_once(replica: Replica) -> None:
    name = await replica.create(**GRID)
    first = await replica.claim(name)
    assert (await replica.fail(first, FailureClass.USER_EXCEPTION, message="boom")).trial_state == "waiting"
    second = await replica.claim(name)
    assert (second.number, second.parameters) == (first.number, first.parameters)
    assert (await replica.fail(second, FailureClass.USER_EXCEPTION, message="boom")).trial_state == "failed"
    assert (await replica.trial(name, 0)).state_reason == "boom"
    assert (await replica.claim(name)).number == 1


async def test_a_failed_trial_of_another_sampler_stays_failed_unless_the_study_says_else(replica: Replica) -> None:
    name = await replica.create()
    assert (await replica.fail(await replica.claim(name), FailureClass.USER_EXCEPTION)).trial_state == "failed"
    name = await replica.create(retry_failed=2)
    states = [
        (await replica.fail(await replica.claim(name), FailureClass.USER_EXCEPTION)).trial_state for _ in range(3)
    ]
    assert states == ["waiting", "waiting", "failed"]
    assert (await replica.trial(name, 0)).num_attempts == 3


async def test_a_search_completes_by_the_claim_where_the_last_finish_could_not(replica: Replica) -> None:
    """The service may die between a finish and the look that follows it; a paused study is not looked at."""
    name = await replica.create(budget={"trials": 1})
    grant = await replica.claim(name)
    await replica.fail(grant, FailureClass.INVALID)
    study = await replica.study(name)
    assert study.state is StudyState.COMPLETED
    assert (await replica.trial(name, 0)).state is TrialState.PRUNED


async def test_grant_trial_attempt_and_lease_are_written_together(replica: Replica) -> None:
    name = await replica.create()
    before = (await replica.study(name)).revision
    grant = await replica.claim(name)
    study = await replica.study(name)
    detail = await replica.trial(name, 0)
    assert study.revision == detail.revision == before + 1
    assert (detail.state, len(detail.attempts)) == (TrialState.RUNNING, 1)
    held = await replica.database.read(lambda connection: leases.of_attempt(connection, grant.trial, 1))
    assert held is not None
    assert 0 < grant.lease_seconds <= replica.context.limits.lease_seconds
    assert await replica.kinds(name) == ["study_created", "trial_created", "trial_claimed"]


@pytest.mark.parametrize(
    ("objective", "told"),
    [
        ({"metric": "loss", "direction": "minimize"}, 0.2),
        ({"metric": "loss", "direction": "maximize", "value": "best"}, 0.5),
        ({"metric": "loss", "direction": "minimize", "value": {"mean_of_last": 2}}, None),
    ],
    ids=["last", "best", "a mean that no step shows"],
)
async def test_a_trial_knows_the_best_value_so_far(
    replica: Replica, objective: dict[str, Any], told: float | None
) -> None:
    name = await replica.create(objective=objective)
    assert (await replica.train(name, 0.5, 0.3)).monitor.best is None, "there is none yet"
    await replica.train(name, 0.2, 0.2)
    assert (await replica.claim(name)).monitor.best == told


async def test_a_worker_is_written_down_when_it_is_new_changed_or_was_silent(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 9})
    await replica.claim(name, worker="other")

    async def seen() -> dict[str, Any]:
        return {view.name: view.last_seen_at for view in (await list_workers(replica.context)).workers}

    await replica.claim(name)
    first = await seen()
    await replica.claim(name)
    assert await seen() == first
    await replica.claim(name, directories=["/shared"])
    changed = await seen()
    assert changed["w"] > first["w"]
    assert changed["other"] == first["other"]
    table = tables.worker
    with replica.database.writer.begin() as connection:  # more than half the time between two heartbeats
        connection.execute(table.update().values(last_seen_at=table.c.last_seen_at - 6 * MICROSECONDS))
    silent = await seen()
    await replica.claim(name, directories=["/shared"])
    assert (await seen())["w"] > silent["w"]


async def test_a_budget_of_trials_alone_needs_no_sum_of_what_was_spent(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    def used(*_: object) -> None:
        raise AssertionError("the spending was summed up")

    name = await replica.create(budget={"trials": 9})
    monkeypatch.setattr(budget_usage, "budget_usage", used)
    assert isinstance(await replica.ask(name), Grant)
    assert (await lifecycle.extend_study(replica.context, name, ExtendRequest(trials=12))).spec.budget.trials == 12


async def test_no_named_study_is_over_where_none_is_named(replica: Replica) -> None:
    answer = await replica.ask(None)
    assert isinstance(answer, NoTrial)
    assert (answer.done, answer.reason) == (False, "no active study has a task that this worker executes")
