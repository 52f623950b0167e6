"""Isolation: a study whose strategy or data fails is paused alone; calls and maintenance of all others continue."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from service.contract.claim import Grant, NoTrial
from service.contract.problem import ErrorCode
from service.contract.report import Action, ReportRequest
from service.contract.study import Event, StudyState
from service.contract.trial import TrialState
from service.domain.errors import DomainError
from service.search import decide
from service.search.schedulers.successive_halving import SuccessiveHalving
from service.storage import tables
from service.storage.blobs import BlobStore
from service.storage.queries import checkpoints
from service.usecases.maintenance.budget_expiry import complete_expired_studies
from service.usecases.studies.lifecycle import resume_study, stop_study
from service.usecases.studies.study_lookup import list_events
from tests.usecases.failing_strategies import POISONED, POISONED_PRUNER, Trouble, hurry, require_no_finding, state_of
from tests.usecases.replica import Replica, points, put

pytestmark = pytest.mark.anyio

ASHA: dict[str, Any] = {"pruner": {"name": "asha", "min": 1}, "resource": {"max": 9}}


async def damage(replica: Replica, name: str, spec: Any = "a string") -> None:
    """Put something that is no spec in the place of the study's."""
    study_id = (await replica.study(name)).id
    with replica.database.writer.begin() as connection:
        table = tables.study_spec
        connection.execute(table.update().where(table.c.study_id == study_id).values(spec=spec))


async def pause_of(replica: Replica, name: str) -> Event:
    """The journal row of the study's only pause."""
    (event,) = (await list_events(replica.context, name, 0, 100, "study_paused")).events
    return event


async def test_a_sampler_that_raises_pauses_its_study_and_the_claim_tries_the_next(
    replica: Replica, trouble: Trouble
) -> None:
    broken, healthy = await replica.create(**POISONED), await replica.create()
    assert (await replica.claim(None)).study_name == healthy
    study = state_of(replica, broken)
    assert (study.state, study.pause_cause) == (StudyState.PAUSED, "failures")
    assert study.state_reason == "the study's strategy or data failed in a claim: KeyError: 'weights'"
    event = await pause_of(replica, broken)
    assert event.data["reason"] == study.state_reason
    assert event.data["during"] == "claim"
    assert event.data["traceback"].startswith("Traceback (most recent call last)")
    assert event.data["traceback"].endswith("KeyError: 'weights'\n")
    assert "in suggesting" in event.data["traceback"]
    # Mended and resumed it goes on with the number that was never handed out.
    trouble.error = None
    await resume_study(replica.context, broken)
    assert (await replica.claim(None)).study_name == broken
    assert [trial.number for trial in await replica.trials(broken)] == [0]


async def test_a_claim_that_names_the_study_hears_why(replica: Replica, trouble: Trouble) -> None:
    broken = await replica.create(**POISONED)
    answer = await replica.ask(broken)
    assert isinstance(answer, NoTrial)
    assert answer.reason == f"{broken}: the study's strategy or data failed in a claim: KeyError: 'weights'"
    assert not answer.done


async def test_text_that_a_database_cannot_hold_is_left_out_of_the_reason(replica: Replica, trouble: Trouble) -> None:
    trouble.error = ValueError("a \x00 and a \ud800 and much more: " + "x" * 10_000)
    broken = await replica.create(**POISONED)
    await replica.ask(broken)
    study = state_of(replica, broken)
    assert study.state == StudyState.PAUSED
    assert "ValueError: a \ufffd and a \ufffd and much more: xxx" in study.state_reason
    assert len(study.state_reason) < 500
    assert len((await pause_of(replica, broken)).data["traceback"]) <= 8_000


async def test_errors_of_the_whole_service_are_answered_as_such(replica: Replica, trouble: Trouble) -> None:
    trouble.error = DomainError(ErrorCode.UNAVAILABLE, "the database is away")
    broken = await replica.create(**POISONED)
    with pytest.raises(DomainError, match="the database is away"):
        await replica.ask(None)
    assert state_of(replica, broken).state == StudyState.ACTIVE


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DomainError(ErrorCode.BUSY, "its row is locked"), "its row is locked"),
        (OSError(5, "it is broken"), "a file could not be read: it is broken"),
        (MemoryError(), "not enough memory for its strategy; ask again"),
    ],
    ids=["busy", "file", "memory"],
)
async def test_a_study_that_cannot_be_asked_now_is_skipped_and_not_paused(
    replica: Replica, trouble: Trouble, error: Exception, reason: str
) -> None:
    trouble.error = error
    broken, healthy = await replica.create(**POISONED), await replica.create(budget={"trials": 1})
    assert (await replica.claim(None)).study_name == healthy
    answer = await replica.ask(None)
    assert isinstance(answer, NoTrial)
    assert f"{broken}: {reason}" in answer.reason
    assert state_of(replica, broken).state == StudyState.ACTIVE


async def test_if_several_studies_fail_within_a_minute_an_alarm_is_logged_and_the_others_are_only_skipped(
    replica: Replica, trouble: Trouble, caplog: pytest.LogCaptureFixture
) -> None:
    broken = [await replica.create(**POISONED) for _ in range(5)]
    healthy = await replica.create()
    with caplog.at_level(logging.ERROR, "service"):
        assert (await replica.claim(None)).study_name == healthy
    assert [state_of(replica, name).state for name in broken] == ["paused"] * 2 + ["active"] * 3
    alarms = [record.message for record in caplog.records if record.message.startswith("ALARM")]
    assert len(alarms) == 1
    assert "3 studies failed within a minute, so the service itself is probably at fault" in alarms[0]
    answer = await replica.ask(broken[4])
    assert isinstance(answer, NoTrial)
    assert "KeyError: 'weights'" in answer.reason


async def test_failures_more_than_a_minute_apart_are_no_alarm(replica: Replica) -> None:
    faults = replica.context.faults
    assert [faults.note(study, at) for study, at in (("a", 0.0), ("b", 30.0), ("b", 31.0), ("c", 61.0))] == [0] * 4
    assert faults.note("d", 62.0) == 3


async def test_a_report_is_stored_and_answered_though_its_judgement_fails(replica: Replica, trouble: Trouble) -> None:
    name = await replica.create(**POISONED_PRUNER)
    grant = await replica.claim(name)
    verdict = await replica.report(grant, 1, 0.5)
    assert verdict.action is Action.CONTINUE
    assert verdict.reason.startswith("the pruner did not judge this report: ")
    assert await replica.report(grant, 1, 0.5) == verdict
    assert (await replica.study(name)).state is StudyState.PAUSED
    assert (await pause_of(replica, name)).data["during"] == "report"
    assert (await replica.heartbeat(grant)).held
    await replica.report(grant, 2, 0.25)  # in the paused study, too
    trouble.error = None
    await replica.report(grant, 3, 0.125)
    await replica.finish(grant)
    trial = await replica.trial(name, 0)
    assert (trial.state, trial.values) == (TrialState.COMPLETED, [0.125])
    assert await replica.kinds(name)
    require_no_finding(replica)


@pytest.mark.parametrize("result", ["succeeded", "pruned", "paused", "released"])
async def test_a_finish_is_stored_though_its_judgement_fails(
    replica: Replica, monkeypatch: pytest.MonkeyPatch, result: str
) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)
    with monkeypatch.context() as patch:
        patch.setattr("service.usecases.attempts.outcome.objective_results", _raising)
        reply = await replica.finish(grant, result)
        assert reply.trial_state == TrialState.WAITING
        assert await replica.finish(grant, result) == reply
    trial = await replica.trial(name, 0)
    assert trial.state_reason is not None
    assert trial.state_reason.startswith(
        "its outcome is stored but not evaluated: the study's strategy or data failed in a finish"
    )
    assert (await replica.study(name)).state is StudyState.PAUSED
    require_no_finding(replica)
    await resume_study(replica.context, name)
    again = await replica.claim(name)
    assert (again.trial, again.attempt) == (grant.trial, 2)
    await replica.report(again, 1, 0.5)
    assert (await replica.finish(again)).trial_state == TrialState.COMPLETED
    require_no_finding(replica)


def _raising(*_: Any, **__: Any) -> Any:
    raise ZeroDivisionError("division by zero")


async def test_a_finish_of_a_study_that_is_being_stopped_ends_it(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    await stop_study(replica.context, name, "enough")
    monkeypatch.setattr("service.usecases.attempts.outcome.objective_results", _raising)
    assert (await replica.finish(grant)).trial_state == TrialState.CANCELLED
    assert (await replica.study(name)).state is StudyState.STOPPED
    require_no_finding(replica)


async def test_the_last_finish_is_answered_though_the_sampler_cannot_say_whether_more_comes(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await replica.create(budget={"trials": 1})
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)
    monkeypatch.setattr(decide, "exhausted", _raising)
    assert (await replica.finish(grant)).trial_state == TrialState.COMPLETED
    assert state_of(replica, name).state == StudyState.PAUSED
    assert (await pause_of(replica, name)).data["during"] == "conclusion"


async def test_a_scheduler_that_raises_loses_no_report_and_no_finish(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await replica.create(**ASHA)
    grant = await replica.claim(name)
    monkeypatch.setattr(SuccessiveHalving, "new_rung_results", _raising)
    assert (await replica.report(grant, 1, 0.5)).action is Action.CONTINUE
    assert (await replica.study(name)).state is StudyState.PAUSED
    monkeypatch.setattr("service.usecases.attempts.outcome.pause_or_finish", _raising)
    assert (await replica.finish(grant, "paused")).trial_state == TrialState.WAITING
    require_no_finding(replica)


async def test_a_promotion_that_raises_pauses_the_study(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    broken, healthy = await replica.create(**ASHA, priority=9), await replica.create()
    monkeypatch.setattr(SuccessiveHalving, "promotion", _raising)
    assert (await replica.claim(None)).study_name == healthy
    assert state_of(replica, broken).state == StudyState.PAUSED


async def test_a_checkpoint_is_stored_though_its_study_fails(replica: Replica) -> None:
    name = await replica.create(**ASHA)
    grant = await replica.claim(name)
    await damage(replica, name)
    batch = ReportRequest(nonce=grant.nonce, sequence=1, points=points(0.5))
    assert (await replica.checkpoint(grant, 1, batch)).step == 1
    assert state_of(replica, name).state == StudyState.PAUSED


async def test_one_broken_study_does_not_keep_the_others_from_being_reaped(replica: Replica) -> None:
    broken, healthy = await replica.create(), await replica.create()
    await replica.claim(broken)
    await replica.claim(healthy)
    await damage(replica, broken)
    assert await replica.lose() == 2
    assert [trial.state for trial in await replica.trials(healthy)] == [TrialState.WAITING]
    study = state_of(replica, broken)
    assert (study.state, study.pause_cause) == (StudyState.PAUSED, "failures")


async def test_a_lease_that_cannot_be_taken_away_does_not_keep_the_others_from_it(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands in the way: here the row of a study stays locked."""
    locked, healthy = await replica.create(), await replica.create()
    await replica.claim(locked)
    await replica.claim(healthy)
    locked_id, transact = (await replica.study(locked)).id, replica.context.transact

    async def transacting(study_id: str | None, work: Any) -> Any:
        if study_id == locked_id:
            raise DomainError(ErrorCode.BUSY, "the database is busy with other writers")
        return await transact(study_id, work)

    replica.context = replace(replica.context, transact=transacting)
    assert await replica.lose() == 1
    assert [trial.state for trial in await replica.trials(healthy)] == [TrialState.WAITING]


@pytest.mark.parametrize("spec", ["a string", {}, {"name": "x"}], ids=str)
async def test_a_study_whose_spec_is_damaged_is_skipped_and_paused(replica: Replica, spec: Any) -> None:
    broken, healthy = await replica.create(priority=9), await replica.create(budget={"trials": 9, "hours": 1})
    grant = await replica.claim(broken)
    await damage(replica, broken, spec)
    assert (await replica.claim(None)).study_name == healthy
    assert state_of(replica, broken).state == StudyState.PAUSED
    assert (await replica.report(grant, 1, 0.5)).action is Action.CONTINUE
    assert (await replica.finish(grant)).trial_state == TrialState.WAITING
    await complete_expired_studies(replica.context)
    assert (await replica.claim(None)).study_name == healthy


async def test_hours_run_out_though_another_study_is_damaged(replica: Replica) -> None:
    broken, timed = await replica.create(), await replica.create(budget={"hours": 1.0})
    grant = await replica.claim(timed)
    await replica.report(grant, 1, 0.5)
    await replica.finish(grant)
    with replica.database.writer.begin() as connection:
        table = tables.study
        spent = table.update().where(table.c.name == timed).values(active_microseconds=3_600_000_000)
        connection.execute(spent)
    await damage(replica, broken)
    await complete_expired_studies(replica.context)
    assert state_of(replica, timed).state == StudyState.COMPLETED
    assert state_of(replica, broken).state == StudyState.PAUSED


async def test_a_search_continues_without_its_damaged_trial(replica: Replica) -> None:
    name = await replica.create()
    first = await replica.claim(name)
    second = await replica.claim(name)
    with replica.database.writer.begin() as connection:
        table = tables.trial
        connection.execute(table.update().where(table.c.id == first.trial).values(rung_results=[{"no": "rung"}]))
    replica.context.histories.forget((await replica.study(name)).id)
    assert (await replica.report(second, 1, 0.5)).action is Action.CONTINUE
    assert (await replica.finish(second)).trial_state == TrialState.COMPLETED
    assert state_of(replica, name).state == StudyState.ACTIVE
    assert (await replica.claim(None)).number == 2


async def test_a_grant_that_cannot_be_repeated_is_given_up(replica: Replica) -> None:
    """The worker repeats its request until it is answered: it may not wait for a damaged study for ever."""
    broken, healthy = await replica.create(), await replica.create()
    await replica.claim(broken, request_id="the-request")
    await damage(replica, broken)
    answer = await replica.ask(None, request_id="the-request")
    assert isinstance(answer, NoTrial)
    assert answer.reason.startswith("the grant of this request cannot be read again: ")
    assert (await replica.claim(None, request_id="another-request")).study_name == healthy


async def test_blobs_of_a_damaged_study_are_kept_and_those_of_others_collected(
    replica: Replica, blobs: BlobStore
) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    sha256 = put(blobs, b"weights")
    await replica.report(grant, 1, 0.5)
    await replica.checkpoint(grant, 1, sha256=sha256)
    await replica.finish(grant)
    await damage(replica, name)
    assert sha256 in await replica.database.read(checkpoints.wanted)


async def test_an_overflow_in_a_strategy_is_no_mistake_of_the_request(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only numbers that the database cannot hold are."""
    name = await replica.create()
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)

    def overflowing(*_: Any) -> Any:
        return float(10**400)

    monkeypatch.setattr("service.usecases.attempts.outcome.objective_results", overflowing)
    assert (await replica.finish(grant)).trial_state == TrialState.WAITING
    assert "OverflowError" in (state_of(replica, name).state_reason or "")


async def test_a_claim_waits_a_moment_for_a_study_and_then_asks_the_next(replica: Replica) -> None:
    hurry(replica, turn_seconds=0.2)
    busy, other = await replica.create(priority=9), await replica.create(budget={"trials": 1})
    async with replica.context.claim_lock((await replica.study(busy)).id):
        assert (await replica.claim(None)).study_name == other
        began = time.monotonic()
        answer = await replica.ask(None)
        assert 0.2 <= time.monotonic() - began < 2
    assert isinstance(answer, NoTrial)
    assert f"{busy}: busy with other claims; ask again" in answer.reason
    assert (await replica.claim(None)).study_name == busy


async def test_a_sampler_that_hangs_holds_up_one_claim_up_to_the_limit_and_no_other(
    replica: Replica, trouble: Trouble
) -> None:
    hurry(replica, suggest_seconds=0.5)
    trouble.blocks = threading.Event()
    slow, healthy = await replica.create(**POISONED), await replica.create(budget={"trials": 50})
    began, num_threads = time.monotonic(), threading.active_count()
    assert (await replica.claim(None)).study_name == healthy
    assert 0.5 <= time.monotonic() - began < 10
    answer = await replica.ask(slow)
    assert isinstance(answer, NoTrial)
    assert "its sampler has been computing a suggestion for" in answer.reason
    assert threading.active_count() < num_threads + 20
    # Neither the loop's own threads nor those of other studies are taken.
    assert await asyncio.wait_for(asyncio.to_thread(lambda: True), 5)
    others = await asyncio.gather(*(replica.ask(healthy, worker=f"w{number}") for number in range(4)))
    assert all(isinstance(each, Grant) for each in others)
    # Once it has ended, its suggestion is taken: no second one is computed.
    trouble.blocks.set()
    trouble.error = None
    await asyncio.sleep(0.1)
    trouble.blocks = None
    trouble.error = AssertionError("computed twice")
    assert (await replica.claim(None)).study_name == slow
    require_no_finding(replica)


async def test_a_late_suggestion_for_a_number_that_was_taken_is_not_used(replica: Replica, trouble: Trouble) -> None:
    hurry(replica, suggest_seconds=0.3)
    trouble.blocks = threading.Event()
    slow = await replica.create(**POISONED)
    assert isinstance(await replica.ask(slow), NoTrial)
    other = Replica(replica.database)  # its sampler answers
    blocks, trouble.blocks, trouble.error = trouble.blocks, None, None
    assert (await other.claim(slow)).number == 0
    blocks.set()
    await asyncio.sleep(0.1)
    assert (await replica.claim(slow)).number == 1
    assert [trial.number for trial in await replica.trials(slow)] == [0, 1]
    require_no_finding(replica)


async def test_a_sampler_that_exceeds_the_limit_three_times_over_pauses_its_study(
    replica: Replica, trouble: Trouble
) -> None:
    hurry(replica, suggest_seconds=0.2)
    trouble.blocks = threading.Event()
    slow = await replica.create(**POISONED)
    for _ in range(3):
        assert state_of(replica, slow).state == StudyState.ACTIVE
        await replica.ask(slow)
        await asyncio.sleep(0.25)
    await replica.ask(slow)
    study = state_of(replica, slow)
    assert (study.state, study.pause_cause) == (StudyState.PAUSED, "failures")
    assert "its sampler has been computing one suggestion for" in study.state_reason
    assert "ASSAYER_SUGGEST_SECONDS" in study.state_reason


async def test_a_claim_that_is_cancelled_leaves_its_suggestion_to_the_next(replica: Replica, trouble: Trouble) -> None:
    trouble.blocks = threading.Event()
    slow = await replica.create(**POISONED)
    asked = asyncio.create_task(replica.ask(slow))
    await asyncio.sleep(0.2)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert state_of(replica, slow).state == StudyState.ACTIVE
    asyncio.get_running_loop().call_later(0.2, trouble.blocks.set)
    trouble.error = None
    assert (await replica.claim(slow)).number == 0
