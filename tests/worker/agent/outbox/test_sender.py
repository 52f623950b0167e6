"""The sender empties the outbox in order, waits out outages, and recognises final refusals."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from service.client import Client
from service.contract.attempt import Outcome
from service.contract.problem import ErrorCode
from service.contract.report import Action, Point
from tests.worker.conftest import HeardProcess
from tests.worker.grants import grant
from tests.worker.scripted_service import FINISHED, Scripted, problem, verdict
from tests.worker.waiting import eventually
from worker.agent.attempts import ActiveAttempt, ActiveAttempts, AttemptKey, EndReason
from worker.agent.connectivity import ServiceStatus
from worker.agent.outbox.outbox import Outbox
from worker.agent.outbox.sender import Sender
from worker.protocol import Provenance

SUCCEEDED = Outcome(result="succeeded")


@pytest.fixture
def sender(client: Client, outbox: Outbox, held: ActiveAttempts, service_status: ServiceStatus) -> Iterator[Sender]:
    with Sender(client, outbox, held, service_status) as running:
        yield running


@pytest.fixture
def attempt(outbox: Outbox, held: ActiveAttempts, process: HeardProcess) -> ActiveAttempt:
    return hold(outbox, held, process)


def hold(outbox: Outbox, held: ActiveAttempts, process: HeardProcess, trial: str = "t1") -> ActiveAttempt:
    granted = grant(trial=trial)
    outbox.ack_claim("cpu", granted)
    attempt = ActiveAttempt(granted, expires_at=time.monotonic() + 60)
    attempt.attach(process)
    held.add(attempt)
    return attempt


def point(step: int) -> Point:
    return Point(step=step, metrics={"val/loss": 1 / step})


def test_reports_then_the_outcome_are_sent_and_verdicts_passed_on(
    sender: Sender, attempt: ActiveAttempt, script: Scripted, process: HeardProcess, held: ActiveAttempts
) -> None:
    script.report = lambda body: verdict("stop", "hopeless") if body["sequence"] == 2 else verdict()
    sender.add_report(attempt.key, point(1))
    sender.add_report(attempt.key, point(2))
    sender.add_outcome(attempt.key, SUCCEEDED)
    assert sender.wait_until_sent(attempt.key, 5)
    assert [call for call, _ in script.asked] == ["report", "report", "finish"]
    assert process.orders == [(Action.STOP, "hopeless")]
    assert eventually(lambda: held.get(attempt.key) is None)


def test_only_a_waiting_process_receives_its_verdict(
    sender: Sender, attempt: ActiveAttempt, process: HeardProcess
) -> None:
    sender.add_report(attempt.key, point(1))
    assert sender.wait_until_sent(attempt.key, 5)
    attempt.await_verdict(3)
    for step in (2, 3, 4):
        sender.add_report(attempt.key, point(step), is_awaited=step == 3)
    assert sender.wait_until_sent(attempt.key, 5)
    assert process.answers == [3]


def test_while_the_service_fails_the_order_is_kept_and_nothing_is_lost(
    sender: Sender, attempt: ActiveAttempt, script: Scripted
) -> None:
    script.report = lambda _: problem(503, ErrorCode.BUSY)
    for step in (1, 2, 3):
        sender.add_report(attempt.key, point(step))
    assert not sender.wait_until_sent(attempt.key, 0.3)
    assert {body["sequence"] for body in script.asked_of("report")} == {1}
    num_refused = len(script.asked)
    script.report = lambda _: verdict()
    assert sender.wait_until_sent(attempt.key, 5)
    assert [body["sequence"] for body in script.asked[num_refused:] for body in [body[1]]] == [1, 2, 3]


def test_a_trial_whose_messages_must_wait_does_not_hold_up_another(
    sender: Sender,
    attempt: ActiveAttempt,
    script: Scripted,
    outbox: Outbox,
    held: ActiveAttempts,
    process: HeardProcess,
) -> None:
    other = hold(outbox, held, process, trial="t2")
    script.report = lambda _: problem(500, ErrorCode.INTERNAL)
    sender.add_report(attempt.key, point(1))
    sender.add_outcome(other.key, SUCCEEDED)
    assert sender.wait_until_sent(other.key, 5)
    assert outbox.has_messages(attempt.key)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (409, ErrorCode.LEASE_SUPERSEDED),
        (409, ErrorCode.ATTEMPT_ENDED),
        (404, ErrorCode.UNKNOWN_TRIAL),
        (500, ErrorCode.DAMAGED_DATA),
        (500, ErrorCode.UNSERIALIZABLE),
    ],
)
def test_an_attempt_that_the_service_gave_up_is_dropped(
    sender: Sender,
    attempt: ActiveAttempt,
    script: Scripted,
    outbox: Outbox,
    held: ActiveAttempts,
    process: HeardProcess,
    status: int,
    code: ErrorCode,
) -> None:
    script.report = lambda _: problem(status, code, "attempt 2 has the trial")
    sender.add_report(attempt.key, point(1))
    assert eventually(lambda: attempt.end_reason is EndReason.DROPPED)
    assert process.num_terminations == 1
    assert held.get(attempt.key) is None
    assert outbox.dead_letters() == [(attempt.key, "attempt 2 has the trial")]


def test_a_report_refused_for_good_ends_its_attempt_invalid_and_later_trials_proceed(
    sender: Sender,
    attempt: ActiveAttempt,
    script: Scripted,
    outbox: Outbox,
    held: ActiveAttempts,
    process: HeardProcess,
) -> None:
    script.report = lambda _: problem(409, ErrorCode.REPORT_CONFLICT, "step 1 has another value")
    sender.add_report(attempt.key, point(1))
    assert eventually(lambda: attempt.end_reason is EndReason.REFUSED)
    assert process.num_terminations == 1
    sender.add_outcome(attempt.key, SUCCEEDED)
    assert sender.wait_until_sent(attempt.key, 5)
    [finish] = script.asked_of("finish")
    assert finish["outcome"]["failure"] == "invalid"
    assert "another value" in finish["outcome"]["message"]
    script.report = lambda _: verdict()
    later = hold(outbox, held, process, trial="t2")
    sender.add_report(later.key, point(1))
    assert sender.wait_until_sent(later.key, 5)


def test_messages_of_an_earlier_agent_are_sent_first(
    client: Client, outbox: Outbox, held: ActiveAttempts, service_status: ServiceStatus, script: Scripted
) -> None:
    outbox.ack_claim("cpu", grant())
    key = AttemptKey("t1", 1)
    outbox.add_point(key, point(1))
    outbox.finish_abandoned()
    with Sender(client, outbox, held, service_status) as sender:
        assert sender.wait_until_sent(None, 5)
    assert [call for call, _ in script.asked] == ["report", "finish"]
    assert script.asked_of("finish")[0]["outcome"]["failure"] == "process_killed"


def test_a_report_does_not_wait_for_the_network(sender: Sender, attempt: ActiveAttempt, script: Scripted) -> None:
    def slow(_: dict[str, object]) -> tuple[int, dict[str, object]]:
        time.sleep(0.5)
        return FINISHED

    script.finish = slow
    before = time.monotonic()
    sender.add_outcome(attempt.key, SUCCEEDED)
    assert time.monotonic() - before < 0.3
    assert sender.wait_until_sent(attempt.key, 5)


TOLD = Provenance(data="d" * 64, environment={"torch": "2.9"})


def test_provenance_is_sent_before_the_reports(sender: Sender, attempt: ActiveAttempt, script: Scripted) -> None:
    sender.add_provenance(attempt.key, TOLD)
    sender.add_report(attempt.key, point(1))
    assert sender.wait_until_sent(attempt.key, 5)
    assert [call for call, _ in script.asked] == ["provenance", "report"]
    assert script.asked[0][1] == {"nonce": "n-1", "code": None, "data": "d" * 64, "environment": {"torch": "2.9"}}


def test_other_data_than_the_studys_ends_the_attempt_as_a_fault_of_this_host(
    sender: Sender, attempt: ActiveAttempt, script: Scripted, process: HeardProcess
) -> None:
    script.provenance = lambda _: problem(409, ErrorCode.DATA_DIFFERS, "trained on data d; the study began with e")
    sender.add_provenance(attempt.key, TOLD)
    sender.add_report(attempt.key, point(1))
    assert eventually(lambda: process.num_terminations == 1)
    sender.add_report(attempt.key, point(2))
    sender.add_outcome(attempt.key, SUCCEEDED)
    assert sender.wait_until_sent(attempt.key, 5)
    assert [call for call, _ in script.asked] == ["provenance", "finish"]
    (finish,) = script.asked_of("finish")
    assert (finish["outcome"]["failure"], finish["outcome"]["scope"]) == ("host_fault", "study")
    assert finish["outcome"]["message"] == "trained on data d; the study began with e"


def test_a_provenance_that_is_refused_otherwise_costs_nothing_else(
    sender: Sender, attempt: ActiveAttempt, script: Scripted, process: HeardProcess
) -> None:
    script.provenance = lambda _: problem(409, ErrorCode.REPORT_CONFLICT)
    sender.add_provenance(attempt.key, TOLD)
    sender.add_report(attempt.key, point(1))
    assert sender.wait_until_sent(attempt.key, 5)
    assert [call for call, _ in script.asked] == ["provenance", "report"]
    assert process.num_terminations == 0
