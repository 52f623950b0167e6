"""The real use cases keep every promise in worlds where everything fails; each world repeats from its seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.world import play

ROOT = Path(__file__).resolve().parents[2]
NUM_SEEDS = 30


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, NUM_SEEDS + 1))
def test_every_promise_holds_in_the_world_of_a_seed(seed: int) -> None:
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


def test_faults_really_happen() -> None:
    worlds = [play(seed) for seed in range(1, 7)]
    assert sum(world.num_attempts for world in worlds) > sum(world.num_trials for world in worlds)
