"""The real use cases keep every promise in worlds where everything fails; each world repeats from its seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.world import play

ROOT = Path(__file__).resolve().parents[2]
NUM_GROUPS, GROUP_SIZE = 10, 120
"""Some four minutes of both cores on a slow machine; in groups, which the test processes share among themselves."""


@pytest.mark.slow
@pytest.mark.parametrize("group", range(NUM_GROUPS))
def test_every_promise_holds_in_the_worlds_of_many_seeds(group: int) -> None:
    for seed in range(1 + group * GROUP_SIZE, 1 + (group + 1) * GROUP_SIZE):
        violations = play(seed).violations
        assert not violations, f"replay: python -m tests.simulation --seed {seed}\n" + "\n".join(violations)


def test_a_world_repeats_from_its_seed() -> None:
    first, other = play(1), play(2)
    assert play(1) == first
    assert first.digest != other.digest


def test_a_world_repeats_in_another_process() -> None:
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    command = [sys.executable, "-m", "tests.simulation", "--seed", "2"]
    told = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    assert f"digest {play(2).digest}" in told


@pytest.mark.slow
def test_what_can_go_wrong_really_does() -> None:
    happened = set[str]().union(*(play(seed).events for seed in range(1, 13)))
    assert happened >= {
        "attempt_lost",
        "attempt_reattached",
        "attempt_released",
        "checkpoint_stored",
        "enqueued",
        "host_quarantined",
        "restored",
        "stop_requested",
        "study_extended",
        "study_paused",
        "trial_cancelled",
        "trial_failed",
        "verdict_stop",
    }


@pytest.mark.slow
def test_many_worlds_are_played_over_all_cores_and_summed_up() -> None:
    command = [sys.executable, "-m", "tests.simulation", "--first", "2", "--seeds", "2", "--processes", "2"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told.strip().startswith("2 worlds, ")
