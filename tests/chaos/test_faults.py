"""Fault plans: equal for equal seeds, longer for longer searches, with every kind of fault."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.chaos.faults import TRIALS_PER_FAULT, Kind, plan


@pytest.mark.parametrize("num_trials", [50, 500, 10_000])
def test_every_planned_kind_happens_before_the_search_is_over(num_trials: int) -> None:
    planned = plan(num_trials, seed=1)
    assert {fault.kind for fault in planned} == set(TRIALS_PER_FAULT) == set(Kind) - {Kind.REPLICA_KILLED}
    assert all(0 <= fault.num_completed <= 0.9 * num_trials for fault in planned)


def test_ten_thousand_trials_meet_as_many_faults_as_was_asked_for() -> None:
    counted = Counter(fault.kind for fault in plan(10_000, seed=1))
    assert (counted[Kind.CHILD_KILLED], counted[Kind.AGENT_KILLED], counted[Kind.DATABASE_CRASHED]) == (200, 50, 10)


def test_a_plan_repeats_from_its_seed() -> None:
    assert plan(500, seed=1) == plan(500, seed=1) != plan(500, seed=2)
