"""The positions of rungs and the first rung of each trial, against the tables of the papers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.history import RungResult
from service.domain.rungs import Rungs, bracket_sizes, default_first, rung_steps, rungs_of
from tests.search.studies import study


def rungs(pruner: Any, last: int) -> Rungs:
    found = rungs_of(study(pruner=pruner, resource={"name": "epoch", "max": last}))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("first", "eta", "last", "steps"),
    [
        (1, 3, 81, (1, 3, 9, 27, 81)),  # Li et al. 2018, table 1
        (1, 3, 9, (1, 3, 9)),  # Li et al. 2020, figure 1
        (1, 4, 256, (1, 4, 16, 64, 256)),  # Li et al. 2020, section 4.1
        (2, 3, 20, (2, 6, 20)),  # 18 is too near to 20 to choose there once more
        (5, 2, 100, (5, 10, 20, 40, 100)),
        (7, 3, 8, (7, 8)),
    ],
)
def test_rungs_are_a_factor_of_eta_apart_and_end_at_the_maximum(
    first: int, eta: int, last: int, steps: tuple[int, ...]
) -> None:
    assert rung_steps(first, eta, last) == steps


@given(first=st.integers(1, 50), eta=st.integers(2, 6), more=st.integers(1, 500))
def test_rungs_always_ascend_from_the_first_to_the_last(first: int, eta: int, more: int) -> None:
    steps = rung_steps(first, eta, first + more)
    assert len(steps) >= 2
    assert (steps[0], steps[-1]) == (first, first + more)
    assert list(steps) == sorted(set(steps))


@pytest.mark.parametrize(("last", "first"), [(2, 1), (3, 2), (9, 2), (20, 3), (27, 3), (100, 12)])
def test_by_default_trials_are_chosen_from_twice_and_not_after_the_first_step(last: int, first: int) -> None:
    assert default_first(last, 3) == first
    assert rungs("asha", last).steps[0] == first


def test_brackets_have_the_sizes_of_the_paper() -> None:
    """Li et al. 2018, algorithm 1 for R = 81 and eta = 3; each bracket costs about 5 R."""
    assert bracket_sizes(4, 3) == (81, 34, 15, 8, 5)
    assert rungs({"name": "hyperband", "min": 1}, 81).brackets == (81, 34, 15, 8, 5)


def test_a_bracket_follows_from_the_number_alone_and_shares_are_kept_all_along() -> None:
    hyperband = rungs({"name": "hyperband", "min": 1}, 81)
    turn = [hyperband.bracket(number) for number in range(143)]
    assert Counter(turn) == {0: 81, 1: 34, 2: 15, 3: 8, 4: 5}
    assert [hyperband.bracket(143 + number) for number in range(143)] == turn
    for num in range(1, 144):
        made = Counter(turn[:num])
        assert all(abs(made[bracket] - num * size / 143) < 1.5 for bracket, size in enumerate(hyperband.brackets))


def test_each_bracket_begins_a_rung_later_and_the_last_one_chooses_nowhere() -> None:
    hyperband = rungs({"name": "hyperband", "min": 1}, 9)
    first = {hyperband.bracket(number): number for number in reversed(range(17))}
    assert [hyperband.of(first[bracket]) for bracket in range(3)] == [(1, 3, 9), (3, 9), (9,)]
    assert [hyperband.first_rung(first[bracket]) for bracket in range(3)] == [1, 3, 9]


def test_where_arrivals_decide_for_good_everybody_sets_out_for_the_end() -> None:
    stopping = rungs({"name": "asha", "mode": "stop"}, 27)
    assert (stopping.first_rung(0), stopping.promotes) == (27, False)


@pytest.mark.parametrize(
    ("rank", "num", "passes"), [(1, 1, True), (2, 2, False), (1, 3, True), (2, 5, False), (2, 6, True)]
)
def test_the_best_third_passes_and_the_best_one_while_there_are_few(rank: int, num: int, passes: bool) -> None:
    assert rungs("asha", 27).survives(RungResult(3, 0.5, rank, num)) is passes


@pytest.mark.parametrize("pruner", ["none", "median"])
def test_other_pruners_have_no_rungs(pruner: str) -> None:
    assert rungs_of(study(pruner=pruner, resource={"name": "epoch", "max": 27})) is None
