"""Study faults: how the exception is described, and what happens to the study and the maintenance of others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from service.contract.attempt import FailureClass
from service.contract.problem import ErrorCode
from service.contract.study import StudyState
from service.domain.errors import DomainError
from service.storage import tables
from service.usecases.isolation import StudyFault, for_each_study, pause_for
from service.usecases.maintenance import oom_expiry
from tests.usecases.failing_strategies import state_of
from tests.usecases.replica import Replica


def test_a_long_traceback_keeps_its_heading_and_its_end() -> None:
    error: Exception = KeyError("the first")
    for number in range(100):
        try:
            raise RuntimeError(f"number {number}") from error
        except RuntimeError as raised:
            error = raised
    text = StudyFault("a study", "claim", error).traceback
    assert len(text) < 8_500
    assert text.startswith("KeyError: 'the first'\n  …\n")
    assert text.endswith("\nRuntimeError: number 99\n")


def test_a_short_traceback_is_kept_whole() -> None:
    text = StudyFault("a study", "claim", KeyError("weights")).traceback
    assert text == "KeyError: 'weights'\n"


@pytest.mark.anyio
async def test_two_studies_that_fail_are_paused_and_not_a_third_within_a_minute(replica: Replica) -> None:
    names = [await replica.create() for _ in range(3)]
    for name in names:
        await pause_for(replica.context, StudyFault(state_of(replica, name).id, "claim", KeyError("weights")))
    assert [state_of(replica, name).state for name in names] == ["paused", "paused", "active"]


@pytest.mark.anyio
async def test_a_study_that_fails_and_is_deleted_meanwhile_needs_no_pause(replica: Replica) -> None:
    await pause_for(replica.context, StudyFault("0" * 32, "claim", KeyError("weights")))


@pytest.mark.anyio
async def test_pausing_a_study_reports_an_unavailable_database(replica: Replica) -> None:
    async def transact(*_: object) -> Any:
        raise DomainError(ErrorCode.UNAVAILABLE, "the database is away")

    context = replace(replica.context, transact=transact)
    with pytest.raises(DomainError, match="the database is away"):
        await pause_for(context, StudyFault("0" * 32, "claim", KeyError("weights")))


@pytest.mark.anyio
async def test_upkeep_passes_over_a_study_that_fails_or_is_busy_and_ends_where_the_database_is_away(
    replica: Replica,
) -> None:
    async def succeed() -> int:
        return 1

    async def fail() -> int:
        raise KeyError("weights")

    async def refuse() -> int:
        raise DomainError(ErrorCode.BUSY, "its row is locked")

    async def lose_connection() -> int:
        raise DomainError(ErrorCode.UNAVAILABLE, "the database is away")

    name = await replica.create()
    study_id = state_of(replica, name).id
    tasks = [(study_id, task) for task in (succeed, fail, refuse, succeed)]
    assert await for_each_study(replica.context, "reaping", tasks) == 2
    assert state_of(replica, name).state == StudyState.PAUSED
    with pytest.raises(DomainError, match="the database is away"):
        await for_each_study(replica.context, "reaping", [(study_id, lose_connection)])


@pytest.mark.anyio
async def test_a_trial_whose_attempts_cannot_be_read_is_a_fault_and_not_given_up(replica: Replica) -> None:
    large, small = ({"devices": [{"kind": "cuda", "memory_gib": gib}]} for gib in (80.0, 24.0))
    await replica.claim(await replica.create(), worker="large", **large)
    grant = await replica.claim(await replica.create(), **small)
    await replica.fail(grant, FailureClass.OUT_OF_MEMORY, shortage={"place": "device", "total_gib": 24.0})
    with replica.database.writer.begin() as connection:
        of_trial = tables.attempt.c.trial_id == grant.trial
        connection.execute(tables.attempt.update().where(of_trial).values(outcome={"shortage": "a string"}))
    context = replica.context
    stranded, faults = await context.transact(
        None, lambda unit_of_work: oom_expiry._unplaceable_trials(unit_of_work, context)
    )
    assert stranded == []
    assert [fault.study_id for fault in faults] == [grant.study]
