"""A pruner that hangs delays no report beyond the time limit, and no other study."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from service.contract.study import StudyState
from tests.usecases.failing_strategies import POISONED_PRUNER, Trouble, hurry, require_no_finding, state_of
from tests.usecases.replica import Replica

pytestmark = pytest.mark.anyio


async def test_a_pruner_that_hangs_keeps_no_report_waiting_beyond_the_limit(replica: Replica, trouble: Trouble) -> None:
    hurry(replica, suggest_seconds=0.5)
    slow, healthy = await replica.create(**POISONED_PRUNER), await replica.create()
    held, other = await replica.claim(slow), await replica.claim(healthy, worker="other")
    trouble.blocks = threading.Event()
    began = time.monotonic()
    reported = asyncio.create_task(replica.report(held, 1, 0.5))
    while not reported.done():
        beat = time.monotonic()
        assert (await replica.heartbeat(other, worker="other")).held
        assert time.monotonic() - beat < 1
        await asyncio.sleep(0.05)
    verdict = await reported
    assert 0.5 <= time.monotonic() - began < 5
    assert (verdict.action, verdict.step) == ("continue", 1)
    assert verdict.reason.startswith(
        "the pruner did not judge this report: its pruner has been computing a verdict for"
    )
    # It is stored: a replay is answered alike, and the trial has its value.
    assert await replica.report(held, 1, 0.5) == verdict
    assert (await replica.trial(slow, 0)).series[0].values == [0.5]
    began = time.monotonic()
    assert (await replica.report(other, 1, 0.5)).action == "continue"
    assert (await replica.report(held, 2, 0.4)).action == "continue"  # the same verdict is still being computed
    assert time.monotonic() - began < 5
    # Once it answers, the next report is judged, and the values that were not judged with it.
    trouble.blocks.set()
    trouble.error = None
    await asyncio.sleep(0.1)
    trouble.blocks = None
    assert (await replica.report(held, 3, 0.3)).reason == "0.3 at step 3 is within the limits"
    require_no_finding(replica)


async def test_a_pruner_that_exceeds_the_limit_three_times_over_pauses_its_study(
    replica: Replica, trouble: Trouble
) -> None:
    hurry(replica, suggest_seconds=0.2)
    slow = await replica.create(**POISONED_PRUNER)
    held = await replica.claim(slow)
    trouble.blocks = threading.Event()
    for sequence in range(1, 5):
        await replica.report(held, sequence, 0.5)
        await asyncio.sleep(0.25)
    study = state_of(replica, slow)
    assert (study.state, study.pause_cause) == (StudyState.PAUSED, "failures")
    assert "its pruner has been computing one verdict for" in study.state_reason
    assert "ASSAYER_SUGGEST_SECONDS" in study.state_reason
    # The training goes on, and all that it reports is stored.
    assert (await replica.report(held, 5, 0.5)).action == "continue"
    assert (await replica.trial(slow, 0)).series[0].steps == [1, 2, 3, 4, 5]
    assert (await replica.finish(held)).trial_state == "completed"
    require_no_finding(replica)
