"""Provenance of attempts: stored, compared with the study's first, and reported or refused where it differs."""

from __future__ import annotations

import pytest

from service.contract.attempt import FailureClass
from service.contract.claim import NoTrial
from service.contract.problem import ErrorCode
from service.contract.provenance import WarningRequest
from service.domain.errors import DomainError
from service.usecases.attempts.provenance import warn
from tests.usecases.replica import Replica

pytestmark = pytest.mark.anyio

OURS, THEIRS = "a" * 64, "b" * 64


async def test_an_attempt_says_what_it_was_made_from(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name, code=OURS)
    assert await replica.provenance(grant, THEIRS, torch="2.9", device="H200") == []
    (attempt,) = (await replica.trial(name, 0)).attempts
    assert (attempt.code, attempt.data) == (OURS, THEIRS)
    assert attempt.environment == {"torch": "2.9", "device": "H200"}
    assert attempt.warnings == []


async def test_saying_it_again_changes_nothing_and_otherwise_is_a_conflict(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    await replica.provenance(grant, OURS, torch="2.9")
    before = await replica.stored(name)
    await replica.provenance(grant, OURS, torch="2.9")
    with pytest.raises(DomainError, match="has already sent another provenance") as caught:
        await replica.provenance(grant, THEIRS, torch="2.9")
    assert caught.value.code is ErrorCode.REPORT_CONFLICT
    assert await replica.stored(name) == before


async def test_other_code_and_data_are_warned_of_and_journalled(replica: Replica) -> None:
    name = await replica.create()
    first = await replica.claim(name, code=OURS)
    await replica.provenance(first, OURS)
    second = await replica.claim(name, worker="v", code=THEIRS)
    warnings = await replica.provenance(second, THEIRS)
    assert warnings == [
        "trained with code bbbbbbbbbbbb; the study began with aaaaaaaaaaaa",
        "trained on data bbbbbbbbbbbb; the study began with aaaaaaaaaaaa",
    ]
    assert (await replica.trial(name, 1)).attempts[0].warnings == warnings
    assert (await replica.trial(name, 0)).attempts[0].warnings == []
    assert {"code_differs", "data_differs"} <= set(await replica.kinds(name))


async def test_a_study_of_one_code_gives_nothing_to_a_worker_with_another(replica: Replica) -> None:
    name = await replica.create(code_policy="same")
    await replica.claim(name, code=OURS)
    answer = await replica.ask(name, worker="v", code=THEIRS)
    assert isinstance(answer, NoTrial)
    assert f"{name}: the study began with code aaaaaaaaaaaa, this worker has bbbbbbbbbbbb" in answer.reason
    assert len(await replica.trials(name)) == 1, "nothing was spent"
    assert (await replica.claim(name, worker="u", code=OURS)).number == 1
    assert (await replica.claim(name, worker="x")).number == 2, "who tells no fingerprint is compared with nothing"


async def test_a_study_of_one_code_refuses_other_data_which_one_host_alone_has(replica: Replica) -> None:
    name = await replica.create(code_policy="same")
    first = await replica.claim(name, worker="good", host="good")
    await replica.provenance(first, OURS)
    await replica.report(first, 1, 0.5)
    for _ in range(2):
        grant = await replica.claim(name, worker="odd", host="odd")
        before = await replica.stored(name)
        with pytest.raises(DomainError, match="copy the same files to worker odd") as caught:
            await replica.provenance(grant, THEIRS)
        assert caught.value.code is ErrorCode.DATA_DIFFERS
        assert await replica.stored(name) == before
        await replica.fail(grant, FailureClass.HOST_FAULT, message=caught.value.detail)
    answer = await replica.ask(name, worker="odd", host="odd")
    assert isinstance(answer, NoTrial)
    assert "trained on data bbbbbbbbbbbb; the study began with aaaaaaaaaaaa" in answer.reason, "quarantined, and why"


FUNCTION = {"function": "mine:train"}


async def test_for_a_function_the_users_code_is_compared_and_not_the_workers(replica: Replica) -> None:
    name = await replica.create(task=FUNCTION)
    first = await replica.claim(name, code=OURS)
    assert await replica.provenance(first, None, custom_code=OURS) == []
    second = await replica.claim(name, code=THEIRS)
    assert await replica.provenance(second, None, custom_code=OURS) == []
    third = await replica.claim(name, code=OURS)
    warnings = ["trained with code bbbbbbbbbbbb; the study began with aaaaaaaaaaaa"]
    assert await replica.provenance(third, None, custom_code=THEIRS) == warnings
    assert await replica.provenance(third, None, custom_code=THEIRS) == warnings, "again changes nothing"
    with pytest.raises(DomainError, match="has already sent another provenance"):
        await replica.provenance(third, None, custom_code=OURS)
    attempts = [(await replica.trial(name, number)).attempts[0] for number in range(3)]
    assert [attempt.code for attempt in attempts] == [OURS, OURS, THEIRS]
    assert attempts[2].warnings == warnings


async def test_a_study_of_one_code_refuses_other_code_of_the_user_s_own(replica: Replica) -> None:
    name = await replica.create(task=FUNCTION, code_policy="same")
    await replica.provenance(await replica.claim(name), None, custom_code=OURS)
    other = await replica.claim(name, worker="odd", host="odd")
    with pytest.raises(DomainError, match="copy the same files to worker odd") as caught:
        await replica.provenance(other, None, custom_code=THEIRS)
    assert caught.value.code is ErrorCode.DATA_DIFFERS


async def test_a_superseded_attempt_says_nothing_any_more(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 1})
    late = await replica.claim(name)
    await replica.lose()
    await replica.claim(name, worker="v")
    with pytest.raises(DomainError) as caught:
        await replica.provenance(late, OURS)
    assert caught.value.code is ErrorCode.LEASE_SUPERSEDED


async def test_a_warning_stands_with_its_attempt_once(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    request = WarningRequest(nonce=grant.nonce, message="the last checkpoint was not kept")
    for _ in range(2):
        reply = await warn(replica.context, grant.trial, grant.attempt, request)
        assert reply.warnings == ["the last checkpoint was not kept"]
    assert (await replica.kinds(name)).count("warning") == 1
    assert (await replica.trial(name, 0)).attempts[0].warnings == reply.warnings


async def test_a_worker_is_shown_with_the_devices_of_all_its_slots(replica: Replica) -> None:
    small, large = ({"kind": "cuda", "index": index, "memory_gib": gib} for index, gib in enumerate((24.0, 80.0)))
    slots = {"gpu0": [small], "gpu1": [large]}
    name = await replica.create()
    for device in (small, large):
        await replica.claim(name, devices=[device], slots=slots)
        (worker,) = (await replica.workers()).workers
        assert [each.memory_gib for each in worker.capabilities.devices] == [24.0, 80.0]
    assert [each.memory_gib for each in worker.capabilities.slots["gpu1"]] == [80.0]
