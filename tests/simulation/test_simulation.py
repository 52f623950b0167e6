"""The real use cases keep every promise in scenarios full of faults, each reproducible from its seed."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest

from tests.simulation.scenario import play
from tests.support.sizes import size

ROOT = Path(__file__).resolve().parents[2]
NUM_WORLDS = int(os.environ.get("ASSAYER_TEST_WORLDS") or size(ci=100, full=1200))
TODAY = datetime.now(UTC).date().toordinal() * 10_000 + 1
FIRST_WORLD = int(os.environ.get("ASSAYER_TEST_FIRST_WORLD") or size(ci=1, full=TODAY))
"""The seed of the first world: CI plays the same worlds each time, `make prove` others each day."""
GROUP_SIZE = 10
"""Test processes share the worlds group by group; a group takes some 15 processor seconds."""
NUM_QUICK = 3
"""How many worlds `make test` plays."""


def groups() -> list[range]:
    """Return the seeds of the worlds to play, in groups that the tests' names tell."""
    seeds = range(FIRST_WORLD, FIRST_WORLD + NUM_WORLDS)
    return [seeds[at : at + GROUP_SIZE] for at in range(0, NUM_WORLDS, GROUP_SIZE)]


played = cache(play)
"""The result of a world that several tests look at."""


def check(seeds: range) -> None:
    for seed in seeds:
        violations = played(seed).violations
        assert not violations, f"replay: python -m tests.simulation --seed {seed}\n" + "\n".join(violations)


def test_every_promise_holds_in_a_few_worlds() -> None:
    check(range(1, 1 + NUM_QUICK))


@pytest.mark.prove
@pytest.mark.parametrize("seeds", groups(), ids=lambda seeds: f"seeds {seeds[0]} to {seeds[-1]}")
def test_every_promise_holds_in_the_worlds_of_many_seeds(seeds: range) -> None:
    check(seeds)


def test_an_exception_that_isolation_keeps_from_callers_is_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AttributeError("planted")

    monkeypatch.setattr("service.usecases.dispatch.claim.start_attempt", fail)
    assert any("logged an error" in each and "planted" in each for each in play(1).violations)


def test_a_world_repeats_from_its_seed() -> None:
    first, other = played(1), played(2)
    assert play(1) == first
    assert first.digest != other.digest


def test_a_world_repeats_in_another_process() -> None:
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    command = [sys.executable, "-m", "tests.simulation", "--seed", "2"]
    told = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    assert f"digest {played(2).digest}" in told


@pytest.mark.prove
def test_every_kind_of_fault_occurs() -> None:
    happened = set[str]().union(*(played(seed).events for seed in range(1, 25)))
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


@pytest.mark.prove
def test_many_worlds_are_played_over_all_cores_and_summed_up() -> None:
    command = [sys.executable, "-m", "tests.simulation", "--first", "2", "--seeds", "2", "--processes", "2"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told.strip().startswith("2 worlds, ")
