"""The parts of the test error lie within their intervals on data of known noise: simulated, and trained by the core."""

from __future__ import annotations

import pytest

from benchmarks.decomposition import (
    REAL_SIZES,
    SCENARIOS,
    Scenario,
    bayes_error,
    coverage,
    simulated,
    trained_runs,
)
from tests.support.sizes import IS_FULL

LEAST = 0.85
"""Smallest share of runs in which the true part lies within its interval of 95 %."""


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.words)
def test_simulated_parts_lie_within_their_intervals(scenario: Scenario) -> None:
    runs = [simulated(scenario, seed) for seed in range(300 if IS_FULL else 60)]
    found = coverage(runs, scenario.floor, scenario.sizes, is_loss=scenario.is_loss)
    assert {name: share for name, share in found.items() if share < LEAST} == {}


@pytest.mark.prove
def test_parts_of_trained_networks_lie_within_their_intervals() -> None:
    runs = trained_runs(20, 15) if IS_FULL else trained_runs(8, 10)
    found = coverage(runs, bayes_error(), REAL_SIZES)
    assert {name: share for name, share in found.items() if share < LEAST} == {}
