"""One heartbeat renews all leases; its reply reaches the training processes."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import pytest

from service.client import Client
from service.contract.claim import Grant
from service.contract.problem import ErrorCode
from service.contract.report import Action
from tests.worker.conftest import HeardProcess
from tests.worker.grants import grant
from tests.worker.scripted_service import Scripted, problem
from tests.worker.waiting import eventually
from worker.agent.attempts import ActiveAttempts, EndReason
from worker.agent.connectivity import ServiceStatus
from worker.agent.heartbeat import Heartbeat


@pytest.fixture
def heartbeat(client: Client, held: ActiveAttempts, service_status: ServiceStatus) -> Iterator[Heartbeat]:
    with Heartbeat(client, "host-a", held, service_status) as keeper:
        yield keeper


def granted(**changes: object) -> Grant:
    return grant(**{"lease_seconds": 0.3, "heartbeat_seconds": 0.05, **changes})


def answers(script: Scripted, **status: object) -> None:
    held = {"held": True, "lease_seconds": 60.0, "order": "continue", "reason": "", **status}
    script.heartbeat = lambda body: (
        200,
        {
            "heartbeat_seconds": 0.05,
            "leases": [{"trial": lease["trial"], "attempt": lease["attempt"], **held} for lease in body["leases"]],
        },
    )


def test_one_heartbeat_speaks_for_all_leases_and_only_while_there_are_any(
    heartbeat: Heartbeat, script: Scripted
) -> None:
    answers(script)
    first = heartbeat.start_renewing(granted(trial="t1"), time.monotonic())
    second = heartbeat.start_renewing(granted(trial="t2"), time.monotonic())
    assert eventually(lambda: len(script.asked_of("heartbeat")) >= 2)
    last = script.asked_of("heartbeat")[-1]
    assert [lease["trial"] for lease in last["leases"]] == ["t1", "t2"]
    assert last["worker"] == "host-a"
    heartbeat.stop_renewing(first)
    heartbeat.stop_renewing(second)
    time.sleep(0.1)
    num_asked = len(script.asked_of("heartbeat"))
    time.sleep(0.2)
    assert len(script.asked_of("heartbeat")) == num_asked


def test_a_renewed_lease_counts_from_the_start_of_the_request(heartbeat: Heartbeat, script: Scripted) -> None:
    answers(script)
    slow = script.heartbeat

    def after_a_while(body: dict[str, object]) -> tuple[int, dict[str, object]]:
        time.sleep(0.3)
        return slow(body)

    script.heartbeat = after_a_while
    before = time.monotonic()
    attempt = heartbeat.start_renewing(granted(), before)
    assert attempt.expires_at == before + 0.3
    assert eventually(lambda: attempt.expires_at > before + 1)
    assert attempt.expires_at - 60 < time.monotonic() - 0.3


def test_an_order_reaches_the_process_once(heartbeat: Heartbeat, script: Scripted, process: HeardProcess) -> None:
    answers(script, order="stop", reason="the study was stopped")
    heartbeat.start_renewing(granted(), time.monotonic()).attach(process)
    assert eventually(lambda: len(script.asked_of("heartbeat")) >= 3)
    assert process.orders == [(Action.STOP, "the study was stopped")]
    assert process.num_terminations == 0


def test_a_superseded_attempt_ends_at_once(heartbeat: Heartbeat, script: Scripted, process: HeardProcess) -> None:
    answers(script, held=False, lease_seconds=None, order="stop", reason="superseded by attempt 2")
    attempt = heartbeat.start_renewing(granted(), time.monotonic())
    attempt.attach(process)
    assert eventually(lambda: process.num_terminations == 1)
    assert (attempt.end_reason, attempt.reason) == (EndReason.DROPPED, "superseded by attempt 2")


def test_a_service_that_fails_costs_no_attempt_even_when_the_lease_expires(
    heartbeat: Heartbeat, script: Scripted, process: HeardProcess, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    script.heartbeat = lambda _: problem(503, ErrorCode.BUSY)
    attempt = heartbeat.start_renewing(granted(), time.monotonic())
    attempt.attach(process)
    assert eventually(lambda: "expired before it was renewed" in caplog.text)
    assert attempt.end_reason is None
    assert process.num_terminations == 0
    answers(script)
    assert eventually(lambda: time.monotonic() + 50 < attempt.expires_at < time.monotonic() + 61)


def test_a_fate_decided_before_the_process_was_there_reaches_it(heartbeat: Heartbeat, process: HeardProcess) -> None:
    attempt = heartbeat.start_renewing(granted(heartbeat_seconds=60.0), time.monotonic())
    attempt.end(EndReason.RELEASED, "the worker was stopped")
    attempt.end(EndReason.DROPPED, "later")
    attempt.attach(process)
    assert process.num_terminations == 1
    assert attempt.end_reason is EndReason.RELEASED
