"""Real processes, real faults: nothing is lost, doubled or invented, and little is trained in vain."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.chaos.chaos import MAX_WASTE, play
from tests.chaos.faults import Kind

NUM_TRIALS = 500


@pytest.mark.slow
def test_five_hundred_trials_come_through_every_fault(tmp_path: Path) -> None:
    result = asyncio.run(play(tmp_path, NUM_TRIALS, seed=1))
    assert {promise: broken for promise, broken in result.violations.items() if broken} == {}
    assert set(result.faults) == set(Kind)
    messages = {"requests dropped", "replies dropped", "requests doubled", "requests delivered late"}
    assert messages <= set(result.messages)
    assert result.waste <= MAX_WASTE
